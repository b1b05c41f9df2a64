/** Polling: one request at a time, longer waits after failures, none while the page is hidden. */

const LONGEST_WAIT_MS = 30_000;

export interface Poll {
  /** Polls now, or right after the current request if one is running. */
  now(): void;
  stop(): void;
}

/**
 * Calls `ask` now and then every `everyMs`, until stopped. A number that `ask` returns replaces the next wait (ms).
 * A failure is passed to `failed` and doubles the wait, up to 30 s. A hidden page does not poll; it polls at once when
 * it becomes visible again.
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
    const immediately = again && failures === 0;
    again = false;
    timer = setTimeout(turn, immediately ? 0 : waitMs);
  }

  const pollNow = () => void turn();
  document.addEventListener("visibilitychange", pollNow);
  void turn();
  return {
    now: pollNow,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", pollNow);
    },
  };
}
