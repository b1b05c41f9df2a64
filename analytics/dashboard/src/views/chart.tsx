/** The chart of crossings over time: in upwards, out downwards, time without coverage hatched. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Api, errorText } from "../api";
import type { Bucket, Camera, Counts } from "../contract";
import { clock, count, day, percent } from "../format";
import { type Poll, poll } from "../poll";
import { type Bar, BUCKETS, bars, gapKind, RANGES, type Range, summary } from "../series";
import type { Store } from "../store";
import { Plot } from "./plot";

const REFRESH_MS = 10_000;
/** Wait after a crossing: the rollups need a moment, and a busy line must not cause a request for each crossing. */
const AFTER_CROSSING_MS = 1_500;
/** With less history than this, the chart of an hour would be mostly hatched. */
const SHORT_HISTORY_S = 20 * 60;

interface Props {
  store: Store;
  api: Api;
  cameras: readonly Camera[];
  camera: Camera;
  onChoose: (cameraId: string) => void;
}

export function Chart({ store, api, cameras, camera, onChoose }: Props) {
  const [chosenRange, setRange] = useState<Range | null>(null);
  const [bucket, setBucket] = useState<Bucket>("1m");
  const range = chosenRange ?? firstRange(store, camera.camera_id);
  const [lineId, setLine] = useState<string | null>(null);
  const { counts, trouble } = useCounts(store, api, camera.camera_id, range, bucket);
  const lines = (camera.spec?.lines ?? []).map((line) => line.line_id);
  const line = lineId !== null && lines.includes(lineId) ? lineId : null;
  const all = useMemo(
    () => (counts ? bars(counts.buckets, camera.camera_id, line) : null),
    [counts, camera.camera_id, line],
  );
  const zone = counts?.time_zone || store.timeZone(camera);

  function chooseRange(next: Range): void {
    setRange(next);
    const offered: readonly Bucket[] = RANGES[next].buckets;
    if (!offered.includes(bucket)) setBucket(offered[0] as Bucket);
  }

  return (
    <section class="chart" aria-labelledby="chart-title" data-chart={camera.camera_id}>
      <header>
        <h2 id="chart-title">
          Crossings per {BUCKETS[bucket]} <span class="muted">· {RANGES[range].title}</span>
        </h2>
        <div class="choices">
          <Choice label="Camera" value={camera.camera_id} onChange={onChoose}>
            {cameras.map((one) => (
              <option key={one.camera_id} value={one.camera_id}>
                {one.name}
              </option>
            ))}
          </Choice>
          <Choice label="Line" value={line ?? ""} onChange={(value) => setLine(value || null)}>
            <option value="">all lines</option>
            {lines.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </Choice>
          <Segments label="Range" options={Object.keys(RANGES) as Range[]} value={range} onChange={chooseRange} />
          <Segments
            label="Bucket"
            options={["1m", "15m", "1h", "1d"]}
            allowed={RANGES[range].buckets}
            value={bucket}
            onChange={setBucket}
          />
        </div>
      </header>
      {trouble && (
        <p class="trouble" role="alert">
          <strong>The chart is out of date.</strong> {trouble} Retrying automatically.
        </p>
      )}
      {all && <Body all={all} title={RANGES[range].title} zone={zone} bucket={bucket} now={api.now().getTime()} />}
      {!all && !trouble && <p class="loading">Loading counts …</p>}
    </section>
  );
}

/** The range before the user selects one: an hour, or 15 minutes if the camera has a short history. */
function firstRange(store: Store, cameraId: string): Range {
  const today = store.coverage.value?.get(cameraId);
  // In the first hour of a day, a short history cannot be distinguished from a young day.
  const short = today && today.elapsedS > 3600 && today.share * today.elapsedS < SHORT_HISTORY_S;
  return short ? "15m" : "1h";
}

function Body({
  all,
  title,
  zone,
  bucket,
  now,
}: {
  all: Bar[];
  title: string;
  zone: string;
  bucket: Bucket;
  now: number;
}) {
  const [active, setActive] = useState<number | null>(null);
  const [tabular, setTabular] = useState(false);
  const sum = summary(all, now);
  const bar = active === null ? undefined : all[active];
  const nothing =
    all.length === 0
      ? "This camera has no data in this range."
      : sum.coverage === 0 && sum.in + sum.out === 0
        ? "This camera was not processed in this range. No counts are known."
        : null;
  return (
    <>
      <p
        class="readout"
        aria-live="polite"
        data-sum-in={sum.in}
        data-sum-out={sum.out}
        data-sum-coverage={sum.coverage}
      >
        {bar ? <Moment bar={bar} zone={zone} bucket={bucket} /> : <Numbers bar={sum} title={capital(title)} />}
      </p>
      {nothing && <p class="loading">{nothing}</p>}
      {all.length > 0 &&
        (tabular ? (
          <Table all={all} zone={zone} bucket={bucket} />
        ) : (
          <Plot all={all} zone={zone} active={active} onActive={setActive} summary={description(sum)} />
        ))}
      <footer>
        <ul class="legend">
          <li class="in">in, upwards</li>
          <li class="out">out, downwards</li>
          <li class="provisional">may still change</li>
          <li class="gap">not covered</li>
        </ul>
        <span class="muted">times in {zone}</span>
        <button type="button" class="quiet" aria-pressed={tabular} onClick={() => setTabular(!tabular)}>
          {tabular ? "Show as chart" : "Show as table"}
        </button>
      </footer>
    </>
  );
}

function Moment({ bar, zone, bucket }: { bar: Bar; zone: string; bucket: Bucket }) {
  return <Numbers bar={bar} title={period(bar, zone, bucket)} remark={remark(bar)} />;
}

function Numbers({
  bar,
  title,
  remark,
}: {
  bar: { in: number; out: number; coverage: number };
  title: string;
  remark?: string;
}) {
  return (
    <>
      <span class="when">{title}</span>
      <span class="in">
        in <strong>{count(bar.in)}</strong>
      </span>
      <span class="out">
        out <strong>{count(bar.out)}</strong>
      </span>
      <span>
        covered <strong>{percent(bar.coverage)}</strong>
      </span>
      {remark && <span class="muted">{remark}</span>}
    </>
  );
}

function Table({ all, zone, bucket }: { all: Bar[]; zone: string; bucket: Bucket }) {
  return (
    <section class="table-scroll" tabIndex={0} aria-label="Counts as a table">
      <table class="buckets">
        <thead>
          <tr>
            <th scope="col">time</th>
            <th scope="col">in</th>
            <th scope="col">out</th>
            <th scope="col">covered</th>
            <th scope="col">state</th>
          </tr>
        </thead>
        <tbody>
          {all.toReversed().map((bar) => (
            <tr key={bar.start}>
              <th scope="row">{period(bar, zone, bucket)}</th>
              <td>{gapKind(bar) === "none" ? "–" : count(bar.in)}</td>
              <td>{gapKind(bar) === "none" ? "–" : count(bar.out)}</td>
              <td>{percent(bar.coverage)}</td>
              <td>{remark(bar) || "final"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Choice(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  children: preact.ComponentChildren;
}) {
  return (
    <label class="choice">
      <span class="unseen">{props.label}</span>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.children}
      </select>
    </label>
  );
}

function Segments<T extends string>(props: {
  label: string;
  options: readonly T[];
  allowed?: readonly T[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <fieldset class="segments">
      <legend class="unseen">{props.label}</legend>
      {props.options.map((option) => (
        <label key={option}>
          <input
            type="radio"
            name={props.label}
            value={option}
            checked={option === props.value}
            disabled={props.allowed ? !props.allowed.includes(option) : false}
            onChange={() => props.onChange(option)}
          />
          <span>{option}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Polls the camera's counts, and requests them soon after each of its crossings. */
function useCounts(store: Store, api: Api, cameraId: string, range: Range, bucket: Bucket) {
  const [answer, setAnswer] = useState<{ key: string; counts: Counts | null; trouble: string | null }>({
    key: "",
    counts: null,
    trouble: null,
  });
  const key = `${cameraId} ${range} ${bucket}`;
  const current = useRef<Poll | null>(null);

  useEffect(() => {
    let stopped = false;
    let soon: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      const start = new Date(api.now().getTime() - RANGES[range].seconds * 1000);
      const counts = await api.counts({ cameraId, start, bucket });
      if (!stopped) setAnswer({ key, counts, trouble: null });
      return undefined;
    };
    const failed = (error: unknown) => {
      // Keep the last counts on the page, marked as out of date.
      setAnswer((before) => ({ key, counts: before.key === key ? before.counts : null, trouble: errorText(error) }));
    };
    current.current = poll(REFRESH_MS, ask, failed);
    const unlisten = store.listen((crossing) => {
      if (crossing.camera_id !== cameraId || soon !== undefined) return;
      soon = setTimeout(() => {
        soon = undefined;
        current.current?.now();
      }, AFTER_CROSSING_MS);
    });
    return () => {
      stopped = true;
      clearTimeout(soon);
      unlisten();
      current.current?.stop();
    };
  }, [store, api, cameraId, range, bucket, key]);

  // Never show the counts of another camera, range or bucket.
  return answer.key === key ? answer : { counts: null, trouble: null };
}

function period(bar: Bar, siteZone: string, bucket: Bucket): string {
  const zone = bar.zone ?? siteZone;
  const [start, end] = [new Date(bar.start), new Date(bar.end)];
  if (bucket === "1d") return day(start, zone);
  return `${day(start, zone)}, ${clock(start, zone)} to ${clock(end, zone)}`;
}

function remark(bar: Bar): string {
  if (gapKind(bar) === "none") return "not covered";
  if (bar.state === "provisional") return "may still change";
  return bar.state === "corrected" ? "corrected by late crossings" : "";
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function description(sum: { in: number; out: number; coverage: number }): string {
  return `Crossings over time: in ${sum.in}, out ${sum.out}, covered ${percent(sum.coverage)}. Use the arrow keys to move between buckets.`;
}
