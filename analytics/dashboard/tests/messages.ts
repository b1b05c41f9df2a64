/** Messages of the counts channel for one line of one camera. */

import type { CrossingMessage, SnapshotMessage } from "../src/contract";

export function snapshot(sequence: number, inward = 0, outward = 0): SnapshotMessage {
  return {
    type: "snapshot",
    channel: "counts",
    sequence,
    day: { gate: "2026-11-22" },
    cameras: { gate: { door: { in: inward, out: outward } } },
  };
}

export function row(
  sequence: number,
  inward: number,
  outward: number,
  direction: "in" | "out" = "in",
): CrossingMessage {
  return {
    type: "crossing",
    channel: "counts",
    sequence,
    crossing_id: `c${sequence}`,
    camera_id: "gate",
    line_id: "door",
    direction,
    class: "person",
    t: 1_800_000_000,
    decided_at: 1_800_000_000.3,
    in: inward,
    out: outward,
  };
}
