/** Asking again and again: never twice at once, slower after failures, not at all while nobody looks. */

const LONGEST_WAIT_MS = 30_000;

export interface Poll {
  /** Asks now (or right after the answer that is under way) instead of at the next turn. */
  now(): void;
  stop(): void;
}

/**
 * Calls `ask` every `everyMs`, or after what it answers, from now on until stopped. A failure goes to `failed` and doubles the wait up to 30 s.
 * A hidden page does not ask; it does so at once when it is looked at again.
 */
export function poll(everyMs: number, ask: () => Promise<number | undefined>, failed: (error: unknown) => void): Poll {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = false;
  let again = false;
  let stopped = false;
  let failures = 0;

  async function turn(): Promise<void> {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    let nextMs = everyMs;
    try {
      nextMs = (await ask()) ?? everyMs;
      failures = 0;
    } catch (error) {
      failures++;
      if (!stopped) failed(error);
    }
    asking = false;
    if (stopped) return;
    const waitMs = Math.min(nextMs * 2 ** Math.min(failures, 10), Math.max(nextMs, LONGEST_WAIT_MS));
    const hurried = again && failures === 0;
    again = false;
    timer = setTimeout(turn, hurried ? 0 : waitMs);
  }

  const seen = () => void turn();
  document.addEventListener("visibilitychange", seen);
  void turn();
  return {
    now: seen,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
