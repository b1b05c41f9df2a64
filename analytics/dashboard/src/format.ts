/** Numbers, spans and times as people read them. Pure; the zone and the moment are always given. */

/** Shown wherever a number is not known: never a zero. */
export const UNKNOWN = "–";

const integer = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number): string {
  return integer.format(value);
}

/**
 * A share in percent, rounded towards what is missing: 100 % means all of it, and 0 % means nothing.
 */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return UNKNOWN;
  const value = Math.min(Math.max(share, 0), 1) * 100;
  if (value === 0 || value === 100) return `${value} %`;
  if (value < 0.1) return "< 0.1 %";
  const step = value < 10 || value > 99 ? 10 : 1;
  // The small push undoes a product such as 0.29 * 100 = 28.999999999999996.
  return `${Math.floor(value * step + 1e-9) / step} %`;
}

/** A span in at most two units: `45 s`, `4 min 32 s`, `21 h 40 min`, `3 d 4 h`. */
export function span(seconds: number): string {
  const s = Math.floor(Math.max(seconds, 0));
  if (s < 60) return `${s} s`;
  if (s < 3600) return join(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return join(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return join(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

/** A span in its largest unit alone: `45 s`, `4 min`, `21 h`. */
export function roughly(seconds: number): string {
  return span(seconds).split(" ").slice(0, 2).join(" ");
}

function join(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`;
}

/** Frames a second; of those that there are, where it is clearly fewer. */
export function fps(processed: number, source = 0): string {
  const of = processed < source * 0.9 ? ` of ${Math.round(source)}` : "";
  return `${processed < 10 ? processed.toFixed(1) : Math.round(processed)}${of} fps`;
}

/** A short time: milliseconds below a second, else seconds. */
export function latency(seconds: number): string {
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

/** Unix seconds of a time that the server gave as a number or as RFC 3339. NaN where it is neither. */
export function unixSeconds(time: number | string): number {
  return typeof time === "number" ? time : Date.parse(time) / 1000;
}

/** The words of a date and time in a zone: `year`, `month`, `day`, `hour`, `minute`, `second`, `weekday`. */
export interface LocalTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

const partFormats = new Map<string, Intl.DateTimeFormat>();

/** What the clocks in a zone show at a moment. */
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
