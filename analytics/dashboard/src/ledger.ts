/**
 * Today's counters: a snapshot plus every later row, in sequence.
 *
 * Pure: the ledger takes messages and returns their outcome. It never guesses. If a row is missing, or a total does not
 * follow from the previous row, the ledger reports that, and the caller asks the server again.
 */

import type { CrossingMessage, SnapshotMessage, Totals } from "./contract";

export type Outcome =
  /** The server's totals replaced all totals. */
  | "snapshot"
  /** The row is the next one, and the totals changed. */
  | "counted"
  /** The row is the next one but belongs to another day: today's totals did not change. */
  | "noted"
  /** The row is already in the totals, as can happen after resuming. */
  | "repeated"
  /** Rows are missing before this one: resume after `sequence`. */
  | "gap"
  /** The row's totals do not follow from the ledger's: request a new snapshot. */
  | "contradiction";

export class Ledger {
  /** Sequence number of the last row in the totals; null before the first snapshot. */
  sequence: number | null = null;
  /** By camera: the date of its totals, in the site's time zone. */
  days: Readonly<Record<string, string>> = {};
  private readonly totals = new Map<string, Totals>();

  snapshot(message: SnapshotMessage): Outcome {
    this.totals.clear();
    for (const [camera, lines] of Object.entries(message.cameras)) {
      for (const [line, totals] of Object.entries(lines)) {
        this.totals.set(key(camera, line), { in: totals.in, out: totals.out });
      }
    }
    this.sequence = message.sequence;
    this.days = message.day;
    return "snapshot";
  }

  crossing(message: CrossingMessage): Outcome {
    // A login of limited reach receives some numbers only; each message then names the one before it.
    if (this.sequence === null || (message.previous ?? message.sequence - 1) > this.sequence) return "gap";
    if (message.sequence <= this.sequence) return "repeated";
    const before = this.total(message.camera_id, message.line_id);
    const other = message.direction === "in" ? "out" : "in";
    const step = message[message.direction] - before[message.direction];
    if (message[other] !== before[other] || (step !== 0 && step !== 1)) return "contradiction";
    this.totals.set(key(message.camera_id, message.line_id), { in: message.in, out: message.out });
    this.sequence = message.sequence;
    return step === 1 ? "counted" : "noted";
  }

  /** Today's totals of one line; zeros if it has no crossing. */
  total(camera: string, line: string): Totals {
    return this.totals.get(key(camera, line)) ?? { in: 0, out: 0 };
  }

  /** Lines of one camera that are in today's totals. */
  lines(camera: string): string[] {
    const prefix = key(camera, "");
    return [...this.totals.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /** Totals over all cameras and lines. */
  sum(): Totals {
    let sum: Totals = { in: 0, out: 0 };
    for (const totals of this.totals.values()) sum = { in: sum.in + totals.in, out: sum.out + totals.out };
    return sum;
  }
}

function key(camera: string, line: string): string {
  return `${camera}/${line}`;
}
