/**
 * Measures the time from decision to paint: one entry for each crossing that this page counted while it was visible.
 *
 * The benchmark reads `window.countlineLatency`. The list is bounded: the oldest entries are dropped first.
 */

import type { CrossingMessage } from "./contract";
import { unixSeconds } from "./format";

const KEPT = 10_000;

/** Times in Unix seconds. */
export interface Latency {
  crossing_id: string;
  camera_id: string;
  /** Capture time of the crossing. */
  t: number;
  /** Capture time of the frame that decided the crossing. */
  decided_at: number;
  received_at: number;
  /** After the paint that shows the new number. */
  shown_at: number;
}

declare global {
  interface Window {
    countlineLatency: Latency[];
  }
}

window.countlineLatency = [];

/** Records a crossing. Call it when the counter's signal has the new value; `shown_at` is taken after the next paint. */
export function noteShown(crossing: CrossingMessage): void {
  const received_at = Date.now() / 1000;
  // A hidden page does not paint; its next frame may come an hour later.
  if (document.hidden) return;
  requestAnimationFrame(() => {
    // A new task runs after this frame has been painted.
    setTimeout(() => {
      window.countlineLatency.push({
        crossing_id: crossing.crossing_id,
        camera_id: crossing.camera_id,
        t: unixSeconds(crossing.t),
        decided_at: unixSeconds(crossing.decided_at),
        received_at,
        shown_at: Date.now() / 1000,
      });
      if (window.countlineLatency.length > KEPT) window.countlineLatency.splice(0, KEPT / 10);
    });
  });
}
