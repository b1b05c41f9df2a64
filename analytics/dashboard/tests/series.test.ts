import { describe, expect, test } from "vitest";
import type { CountBucket } from "../src/contract";
import { bars, countTicks, gaps, summary, timeTicks } from "../src/series";

const START = Date.parse("2026-11-22T10:00:00Z");

function bucket(minute: number, line: string, inward: number, outward: number, coverage = 1): CountBucket {
  return {
    start: new Date(START + minute * 60_000).toISOString(),
    end: new Date(START + (minute + 1) * 60_000).toISOString(),
    camera_id: "gate",
    line_id: line,
    in: inward,
    out: outward,
    coverage,
    state: "final",
  };
}

describe("what the chart shows", () => {
  test("one line, or the sum of all lines, by bucket", () => {
    const buckets = [
      bucket(1, "door", 3, 1),
      bucket(0, "door", 1, 0),
      bucket(0, "side", 2, 5),
      bucket(1, "side", 0, 0),
    ];
    expect(bars(buckets, "gate", null).map((bar) => [bar.in, bar.out])).toEqual([
      [3, 5],
      [3, 1],
    ]);
    expect(bars(buckets, "gate", "door").map((bar) => [bar.in, bar.out])).toEqual([
      [1, 0],
      [3, 1],
    ]);
    expect(bars(buckets, "ramp", null)).toEqual([]);
  });

  test("uncovered time is a gap and not a zero; partly covered time is another kind of gap", () => {
    const all = bars(
      [bucket(0, "d", 1, 1), bucket(1, "d", 0, 0, 0), bucket(2, "d", 0, 0, 0), bucket(3, "d", 1, 0, 0.5)],
      "gate",
      null,
    );
    expect(gaps(all)).toEqual([
      { first: 1, last: 2, kind: "none" },
      { first: 3, last: 3, kind: "part" },
    ]);
  });

  test("a crossing is shown even before its coverage arrives", () => {
    expect(gaps(bars([bucket(0, "d", 1, 0, 0)], "gate", null))[0]?.kind).toBe("part");
  });

  test("the coverage of a range weights each bucket by its time up to now", () => {
    const all = bars([bucket(0, "d", 2, 1, 1), bucket(1, "d", 1, 0, 0.5)], "gate", null);
    expect(summary(all, START + 120_000)).toEqual({ in: 3, out: 1, coverage: 0.75 });
    expect(summary(all, START + 90_000).coverage).toBeCloseTo((60 + 15) / 90);
    expect(summary([], START).coverage).toBeNaN();
  });

  test.each([
    [2.1, 2.1, [-2, -1, 0, 1, 2]],
    [5, 18, [-5, 0, 5, 10, 15]],
    [0.4, 0.4, [0]],
    [900, 1100, [-500, 0, 500, 1000]],
  ])("ticks from -%d to %d are whole and round", (down, top, ticks) => {
    expect(countTicks(down, top, 6).map((tick) => tick + 0)).toEqual(ticks);
  });

  test("ticks are at round local times; days are labelled with their dates", () => {
    const hour = Array.from({ length: 60 }, (_, i) => bucket(i, "d", 0, 0));
    const labels = timeTicks(bars(hour, "gate", null), "Asia/Kathmandu", 6).map((tick) => tick.label);
    expect(labels).toEqual(["15:50", "16:00", "16:10", "16:20", "16:30", "16:40"]);
    const late = Array.from({ length: 40 }, (_, i) => bucket(780 - 15 + i, "d", 0, 0));
    expect(timeTicks(bars(late, "gate", null), "Europe/Berlin", 8).map((tick) => tick.label)).toEqual([
      "23:45",
      "23:50",
      "23:55",
      "Mon 23 Nov",
      "00:05",
      "00:10",
      "00:15",
      "00:20",
    ]);
  });

  test("are those of each bar's own zone after a site's zone was changed", () => {
    const days = ["UTC", "America/New_York"].map((zone, i) => ({ ...bucket(0, "d", 0, 0), time_zone: zone, i }));
    const [before, after] = days.map(({ i, ...one }) => ({
      ...one,
      start: i === 0 ? "2026-10-24T00:00:00Z" : "2026-10-25T04:00:00Z",
      end: i === 0 ? "2026-10-25T04:00:00Z" : "2026-10-26T04:00:00Z",
    })) as [CountBucket, CountBucket];
    const labels = timeTicks(bars([before, after], "gate", null), "America/New_York", 8).map((tick) => tick.label);
    expect(labels).toEqual(["Sat 24 Oct", "Sun 25 Oct"]);
  });
});
