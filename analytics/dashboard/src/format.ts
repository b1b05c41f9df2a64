/** Formats numbers, durations and times for people. Pure: the caller passes the time zone and the time. */

import type { Camera, CameraError, CameraObservation } from "./contract";

/** Shown instead of an unknown number. Zero would be a claim. */
export const UNKNOWN = "–";
/** Code of a warning: lines were drawn on another picture. */
const PICTURE_CHANGED = "picture_changed";

const integer = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number): string {
  return integer.format(value);
}

/**
 * A share (0..1) in percent, rounded down. Only a full share shows as 100 %, only an empty one as 0 %.
 */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return UNKNOWN;
  const value = Math.min(Math.max(share, 0), 1) * 100;
  if (value === 0 || value === 100) return `${value} %`;
  if (value < 0.1) return "< 0.1 %";
  const step = value < 10 || value > 99 ? 10 : 1;
  // The small addend corrects products such as 0.29 * 100 = 28.999999999999996.
  return `${Math.floor(value * step + 1e-9) / step} %`;
}

/** A duration in at most two units: `45 s`, `4 min 32 s`, `21 h 40 min`, `3 d 4 h`. */
export function span(seconds: number): string {
  const s = Math.floor(Math.max(seconds, 0));
  if (s < 60) return `${s} s`;
  if (s < 3600) return join(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return join(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return join(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

/** A duration in its largest unit: `45 s`, `4 min`, `21 h`. */
export function roughly(seconds: number): string {
  return span(seconds).split(" ").slice(0, 2).join(" ");
}

function join(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
}

/** Processed frames per second, followed by the source's rate if that is clearly higher: `4.0 of 10 fps`. */
export function fps(processed: number, source = 0): string {
  const of = processed < source * 0.9 ? ` of ${Math.round(source)}` : "";
  return `${processed < 10 ? processed.toFixed(1) : Math.round(processed)}${of} fps`;
}

/** A short duration: milliseconds below a second, seconds from there on. */
export function latency(seconds: number): string {
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

/** Unix seconds of a server time, which is a number or RFC 3339 text. NaN if it is neither. */
export function unixSeconds(time: number | string): number {
  return typeof time === "number" ? time : Date.parse(time) / 1000;
}

/** Date and time of day in a time zone. */
export interface LocalTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

const partFormats = new Map<string, Intl.DateTimeFormat>();

/** Local time in a zone. */
export function localTime(at: Date, timeZone: string): LocalTime {
  let format = partFormats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    partFormats.set(timeZone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(at).map((part) => [part.type, Number(part.value)]));
  return parts as unknown as LocalTime;
}

/** `14:05`, or `14:05:09` with seconds. */
export function clock(at: Date, timeZone: string, seconds = false): string {
  const local = localTime(at, timeZone);
  const text = `${two(local.hour)}:${two(local.minute)}`;
  return seconds ? `${text}:${two(local.second)}` : text;
}

/** `Sun 22 Nov`. */
export function day(at: Date, timeZone: string): string {
  return new Intl.DateTimeFormat("en-GB", { timeZone, weekday: "short", day: "numeric", month: "short" })
    .format(at)
    .replace(",", "");
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/**
 * The warnings of a camera. Its worker reports `observed`; the service of cameras adds to the stored camera that lines were
 * drawn on another picture, and no worker knows that after a restart.
 */
export function warningsOf(camera: Camera, status: CameraObservation): CameraError[] {
  const stored = (camera.observed?.warnings ?? []).filter((warning) => warning.code === PICTURE_CHANGED);
  const reported = status.warnings ?? [];
  return [...stored, ...reported.filter((warning) => stored.length === 0 || warning.code !== PICTURE_CHANGED)];
}
