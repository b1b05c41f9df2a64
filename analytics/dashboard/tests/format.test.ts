import { describe, expect, test } from "vitest";
import { clock, count, fps, latency, percent, roughly, span, unixSeconds, warningsOf } from "../src/format";

describe("numbers", () => {
  test.each([
    [0, "0 %"],
    [0.00004, "< 0.1 %"],
    [0.0043, "0.4 %"],
    [0.29, "29 %"],
    [0.669, "66 %"],
    [0.9984, "99.8 %"],
    [0.99999, "99.9 %"],
    [1, "100 %"],
    [1.2, "100 %"],
    [Number.NaN, "–"],
  ])("a share of %d is %s: rounded down", (share, text) => {
    expect(percent(share)).toBe(text);
  });

  test.each([
    [0, "0 s"],
    [59.9, "59 s"],
    [60, "1 min"],
    [272, "4 min 32 s"],
    [3600, "1 h"],
    [78_000, "21 h 40 min"],
    [273_600, "3 d 4 h"],
    [-3, "0 s"],
  ])("%d seconds are %s", (seconds, text) => {
    expect(span(seconds)).toBe(text);
  });

  test("a rough duration has only its largest unit", () => {
    expect([45, 272, 78_000].map(roughly)).toEqual(["45 s", "4 min", "21 h"]);
  });

  test("counts have separators, speeds and delays have units", () => {
    expect(count(18_078)).toBe("18,078");
    expect(fps(9.96)).toBe("10.0 fps");
    expect(fps(24.7, 25)).toBe("25 fps");
    expect(fps(4.04, 10)).toBe("4.0 of 10 fps");
    expect(latency(0.0841)).toBe("84 ms");
    expect(latency(1.26)).toBe("1.3 s");
  });
});

describe("times", () => {
  test("are in the site's time zone", () => {
    const at = new Date("2026-11-22T23:30:05Z");
    expect(clock(at, "Europe/Berlin")).toBe("00:30");
    expect(clock(at, "Asia/Kolkata", true)).toBe("05:00:05");
  });

  test("are parsed from numbers and from text", () => {
    expect(unixSeconds(1_800_000_000.25)).toBe(1_800_000_000.25);
    expect(unixSeconds("2027-01-15T08:00:00.250000Z")).toBe(1_800_000_000.25);
  });
});

describe("warnings", () => {
  const warning = (code: string, message = code) => ({ code, message, hint: "look" });
  const camera = (...warnings: ReturnType<typeof warning>[]) => ({
    camera_id: "door",
    site_id: "lab",
    name: "Door",
    status: "active" as const,
    revision: 1,
    observed: { warnings },
  });

  test("are those of the worker, and the stored one of a changed picture, once", () => {
    const old = [warning("hole", "old"), warning("picture_changed", "stored")];
    const reported = { warnings: [warning("timestamps"), warning("picture_changed", "reported")] };
    const messages = (found: { message: string }[]) => found.map((each) => each.message);
    expect(messages(warningsOf(camera(...old), reported))).toEqual(["stored", "timestamps"]);
    expect(messages(warningsOf(camera(), reported))).toEqual(["timestamps", "reported"]);
    expect(warningsOf(camera(), {})).toEqual([]);
  });
});
