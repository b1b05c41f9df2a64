/**
 * From the decision to the pixel: one entry for each crossing that this page counted while somebody could see it.
 *
 * `window.countlineLatency` is read by the benchmark; it is bounded, the oldest entries go first.
 */

import type { CrossingMessage } from "./contract";
import { unixSeconds } from "./format";

const KEPT = 10_000;

/** All times in Unix seconds: of capture, of the deciding frame's capture, and of the paint with the new number. */
export interface Latency {
  crossing_id: string;
  camera_id: string;
  t: number;
  decided_at: number;
  received_at: number;
  shown_at: number;
}

declare global {
  interface Window {
    countlineLatency: Latency[];
  }
}

window.countlineLatency = [];

/** To be called when the counter's new value has been handed to the page; the time is taken after the next paint. */
export function noteShown(crossing: CrossingMessage): void {
  const received_at = Date.now() / 1000;
  // A hidden page paints nothing: its next frame may come in an hour.
  if (document.hidden) return;
  requestAnimationFrame(() => {
    // A task of its own runs after this frame has been painted.
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
