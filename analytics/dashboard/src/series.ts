/** The chart's data: buckets summed over lines, gaps in coverage, round ticks. Pure: no DOM and no pixels. */

import type { Bucket, CountBucket } from "./contract";
import { clock, day, localTime } from "./format";

/** One bar of the chart: a bucket of time, summed over the selected lines. Times are Unix milliseconds. */
export interface Bar {
  start: number;
  end: number;
  in: number;
  out: number;
  coverage: number;
  state: CountBucket["state"];
  /** Time zone of the site at the start; it differs between bars if the site's zone was changed from a date on. */
  zone?: string | undefined;
}

/**
 * A bucket with less coverage than this is hatched as partly covered. The limit for provisional buckets is lower,
 * because their newest coverage has not arrived yet.
 */
const FULL_COVERAGE = { final: 0.995, corrected: 0.995, provisional: 0.9 } as const;

export const RANGES = {
  "15m": { title: "last 15 minutes", seconds: 900, buckets: ["1m"] },
  "1h": { title: "last hour", seconds: 3600, buckets: ["1m", "15m"] },
  "6h": { title: "last 6 hours", seconds: 6 * 3600, buckets: ["1m", "15m", "1h"] },
  "24h": { title: "last 24 hours", seconds: 24 * 3600, buckets: ["15m", "1h"] },
  "7d": { title: "last 7 days", seconds: 7 * 86400, buckets: ["1h", "1d"] },
  "30d": { title: "last 30 days", seconds: 30 * 86400, buckets: ["1d"] },
} as const satisfies Record<string, { title: string; seconds: number; buckets: readonly Bucket[] }>;

export type Range = keyof typeof RANGES;

export const BUCKETS: Record<Bucket, string> = { "1m": "minute", "15m": "15 minutes", "1h": "hour", "1d": "day" };

/** Buckets of one camera in order of time: of one line or, if `lineId` is null, summed over all lines. */
export function bars(buckets: readonly CountBucket[], cameraId: string, lineId: string | null): Bar[] {
  const all = new Map<number, Bar>();
  for (const bucket of buckets) {
    if (bucket.camera_id !== cameraId) continue;
    const start = Date.parse(bucket.start);
    const bar = all.get(start) ?? {
      start,
      end: Date.parse(bucket.end),
      in: 0,
      out: 0,
      // Coverage belongs to the camera. If its lines ever differ, the lowest counts.
      coverage: 1,
      state: bucket.state,
      zone: bucket.time_zone,
    };
    const counts = lineId === null || bucket.line_id === lineId;
    all.set(start, {
      ...bar,
      in: bar.in + (counts ? bucket.in : 0),
      out: bar.out + (counts ? bucket.out : 0),
      coverage: Math.min(bar.coverage, bucket.coverage),
      state: mergedState(bar.state, bucket.state),
    });
  }
  return [...all.values()].sort((a, b) => a.start - b.start);
}

function mergedState(a: Bar["state"], b: Bar["state"]): Bar["state"] {
  for (const state of ["provisional", "corrected"] as const) if (a === state || b === state) return state;
  return "final";
}

/** Totals over all bars, and the covered share of their time up to `now` (Unix ms); NaN if there is no such time. */
export function summary(all: readonly Bar[], now: number): { in: number; out: number; coverage: number } {
  const sum = { in: 0, out: 0, covered: 0, time: 0 };
  for (const bar of all) {
    const time = Math.max(0, Math.min(bar.end, now) - bar.start);
    sum.in += bar.in;
    sum.out += bar.out;
    sum.covered += bar.coverage * time;
    sum.time += time;
  }
  return { in: sum.in, out: sum.out, coverage: sum.time > 0 ? sum.covered / sum.time : Number.NaN };
}

/** Neighbouring bars with no coverage, or with partial coverage. */
export interface Gap {
  first: number;
  last: number;
  /** `none`: no coverage, so there is no number. `part`: the numbers cover only part of the time. */
  kind: "none" | "part";
}

export function gaps(all: readonly Bar[]): Gap[] {
  const found: Gap[] = [];
  all.forEach((bar, i) => {
    const kind = gapKind(bar);
    const last = found.at(-1);
    if (kind === null) return;
    if (last && last.kind === kind && last.last === i - 1) last.last = i;
    else found.push({ first: i, last: i, kind });
  });
  return found;
}

export function gapKind(bar: Bar): Gap["kind"] | null {
  if (bar.coverage <= 0 && bar.in + bar.out === 0) return "none";
  return bar.coverage < FULL_COVERAGE[bar.state] ? "part" : null;
}

/** Multiples of one round step from -down to top, about `most` of them. Whole numbers, because counts are. */
export function countTicks(down: number, top: number, most: number): number[] {
  const rough = Math.max(1, (down + top) / most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? 10 * power;
  const ticks: number[] = [];
  for (let i = -Math.floor(down / step); i * step <= top; i++) ticks.push(i * step);
  return ticks;
}

export interface TimeTick {
  index: number;
  label: string;
  /** The tick is at midnight: drawn stronger, labelled with the date. */
  newDay: boolean;
}

const MINUTE_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440];

/** Ticks at round local times of the zone, about `most` of them at most. */
export function timeTicks(all: readonly Bar[], timeZone: string, most: number): TimeTick[] {
  const [first, second] = all;
  if (!first) return [];
  const last = all.at(-1) as Bar;
  const bucketMinutes = ((second?.start ?? first.end) - first.start) / 60_000;
  const spanMinutes = (last.end - first.start) / 60_000;
  const step = MINUTE_STEPS.find((minutes) => minutes >= bucketMinutes && spanMinutes / minutes <= most) ?? 1440;
  const days = Math.max(1, Math.ceil(spanMinutes / 1440 / Math.max(1, most)));
  const ticks: TimeTick[] = [];
  let dayNumber = -1;
  all.forEach((bar, index) => {
    const at = new Date(bar.start);
    const zone = bar.zone ?? timeZone;
    const local = localTime(at, zone);
    const minutes = local.hour * 60 + local.minute;
    const newDay = minutes === 0;
    if (newDay) dayNumber++;
    if (minutes % step !== 0 || (step === 1440 && (!newDay || dayNumber % days !== 0))) return;
    ticks.push({ index, label: newDay ? day(at, zone) : clock(at, zone), newDay });
  });
  return ticks;
}
