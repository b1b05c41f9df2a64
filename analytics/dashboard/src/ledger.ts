/**
 * The counters of today, which cannot lie: a snapshot and, on top of it, every row in sequence and no other.
 *
 * Pure: it is told messages and says what they were. A gap or a total that does not follow from the row before is never
 * papered over; whoever holds the ledger then asks the server again.
 */

import type { CrossingMessage, SnapshotMessage, Totals } from "./contract";

export type Outcome =
  /** Everything was replaced by what the server knows. */
  | "snapshot"
  /** The row follows; the totals have moved. */
  | "counted"
  /** The row follows but belongs to another day: today's totals stand. */
  | "noted"
  /** The row is known already, as it happens after resuming. */
  | "repeated"
  /** Rows are missing before this one: resume after `sequence`. */
  | "gap"
  /** The row's totals do not follow from ours: ask for a new snapshot. */
  | "contradiction";

export class Ledger {
  /** Of the last row that is in the totals; null before the first snapshot. */
  sequence: number | null = null;
  /** Camera by camera, the site's date that the totals are of. */
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
    if (this.sequence === null || message.sequence > this.sequence + 1) return "gap";
    if (message.sequence <= this.sequence) return "repeated";
    const before = this.total(message.camera_id, message.line_id);
    const other = message.direction === "in" ? "out" : "in";
    const step = message[message.direction] - before[message.direction];
    if (message[other] !== before[other] || (step !== 0 && step !== 1)) return "contradiction";
    this.totals.set(key(message.camera_id, message.line_id), { in: message.in, out: message.out });
    this.sequence = message.sequence;
    return step === 1 ? "counted" : "noted";
  }

  /** Totals of one line today; a line without a crossing has zeros. */
  total(camera: string, line: string): Totals {
    return this.totals.get(key(camera, line)) ?? { in: 0, out: 0 };
  }

  /** The lines of one camera that have crossed anything today. */
  lines(camera: string): string[] {
    const prefix = key(camera, "");
    return [...this.totals.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /** Totals of every camera and line together. */
  sum(): Totals {
    let sum: Totals = { in: 0, out: 0 };
    for (const totals of this.totals.values()) sum = { in: sum.in + totals.in, out: sum.out + totals.out };
    return sum;
  }
}

function key(camera: string, line: string): string {
  return `${camera}/${line}`;
}
