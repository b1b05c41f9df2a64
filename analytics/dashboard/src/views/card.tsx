/** One camera: picture, state, counters and their coverage. */

import { useSignal } from "@preact/signals";
import type { Camera, CameraObservation, CameraStatus, ObservedState } from "../contract";
import { fps, latency, percent, span, UNKNOWN, warningsOf } from "../format";
import type { Store } from "../store";
import { Counters } from "./counters";
import { NoLines } from "./empty";
import { Enlarge } from "./icons";
import { Picture } from "./picture";

/** A running camera reports about once a second. After this much silence the card shows "No report". */
const REPORTED_WITHIN_S = 15;
/** An older picture is stale, and so is each picture of a camera that failed. */
const FRESH_PICTURE_S = 4;

interface Props {
  store: Store;
  camera: Camera;
  chosen: boolean;
  onChoose: () => void;
  large: boolean;
  onEnlarge: () => void;
}

type Shown = ObservedState | CameraStatus | "silent";

const STATES: Record<Shown, string> = {
  active: "Active",
  inactive: "Inactive",
  paused: "Paused",
  retired: "Retired",
  waiting: "Waiting for a worker",
  probing: "Opening the source",
  starting: "Starting",
  running: "Running",
  degraded: "Degraded",
  offline: "Offline",
  failed: "Failed",
  finished: "Finished",
  silent: "No report",
};

export function Card({ store, camera, chosen, onChoose, large, onEnlarge }: Props) {
  const status = store.status(camera).value;
  const state = shownState(camera, status, store.now.value);
  const { name } = camera;
  const lines = [...(camera.spec?.lines ?? []).map((line) => line.line_id), ...store.removedLines(camera)];
  return (
    <article
      class={`card ${chosen ? "chosen" : ""} ${large ? "large" : ""}`}
      data-camera={camera.camera_id}
      data-state={state}
      aria-labelledby={`name-${camera.camera_id}`}
    >
      <Stage
        store={store}
        camera={camera}
        status={status}
        state={state}
        large={large}
        onEnlarge={onEnlarge}
        name={name}
      />
      <div class="facts">
        <header class="card-head">
          <h2 id={`name-${camera.camera_id}`}>
            <button type="button" class="choose" onClick={onChoose} aria-pressed={chosen} title="Show in chart">
              {name}
            </button>
          </h2>
          {name !== camera.camera_id && <code class="camera-id">{camera.camera_id}</code>}
        </header>
        {lines.length === 0 ? (
          <NoLines cameraId={camera.camera_id} />
        ) : (
          <Counters store={store} camera={camera} lines={lines} />
        )}
        <TodaysCoverage store={store} camera={camera} />
        <Vitals status={status} />
        <Warnings camera={camera} status={status} />
      </div>
    </article>
  );
}

function Stage(props: {
  store: Store;
  camera: Camera;
  status: CameraObservation;
  state: string;
  large: boolean;
  onEnlarge: () => void;
  name: string;
}) {
  const { store, camera, status, state, large, onEnlarge, name } = props;
  const shownAt = useSignal<number | null>(null);
  // Reading the clock renders this again every second, so that a picture that is not renewed becomes stale.
  void store.now.value;
  const ageS = shownAt.value === null ? null : (Date.now() - shownAt.value) / 1000;
  const stale = state === "failed" || ageS === null || ageS > FRESH_PICTURE_S;
  return (
    <div class={`stage ${stale ? "stale" : ""}`} data-picture={ageS === null ? "none" : stale ? "stale" : "live"}>
      <Picture
        store={store}
        camera={camera}
        onShown={() => {
          shownAt.value = Date.now();
        }}
      />
      <Badge status={status} state={state} />
      <button
        type="button"
        class="enlarge"
        onClick={onEnlarge}
        aria-pressed={large}
        aria-label={`${large ? "Shrink" : "Enlarge"} picture of ${name}`}
      >
        <Enlarge large={large} />
      </button>
      {stale && <Missing status={status} state={state} ageS={ageS} />}
    </div>
  );
}

function Badge({ status, state }: { status: CameraObservation; state: string }) {
  return (
    <span class={`badge ${state}`}>
      <span class="dot" aria-hidden="true" />
      {STATES[state as Shown] ?? state}
      {state === "silent" && status.reported_at && ` since ${new Date(status.reported_at).toLocaleTimeString()}`}
    </span>
  );
}

/** Shows why there is no live picture, and what to do. */
function Missing({ status, state, ageS }: { status: CameraObservation; state: string; ageS: number | null }) {
  if (status.error) {
    return (
      <div class="missing fault" data-error={status.error.code}>
        <p>{status.error.message}</p>
        {status.error.hint && (
          <p class="advice">
            <span>What to do:</span> {status.error.hint}
          </p>
        )}
      </div>
    );
  }
  return (
    <div class="missing">
      <p>
        {ageS === null ? (EXPLAINED[state] ?? "Waiting for the first picture …") : `This picture is ${span(ageS)} old.`}
      </p>
    </div>
  );
}

const EXPLAINED: Partial<Record<string, string>> = {
  waiting: "No worker has this camera yet.",
  probing: "Opening the source …",
  starting: "Loading the model …",
  inactive: "This camera is switched off.",
  paused: "This camera is paused.",
  finished: "The file has ended.",
};

/** Shows how much of today the counters cover. */
function TodaysCoverage({ store, camera }: { store: Store; camera: Camera }) {
  const coverage = store.coverage.value?.get(camera.camera_id);
  return (
    <p class="worth" data-coverage={coverage?.share ?? ""}>
      <meter min={0} max={1} value={coverage?.share ?? 0} aria-label="Today's coverage" />
      {coverage ? (
        <span>
          <strong>{percent(coverage.share)}</strong> of today covered
          <span title={`Today began ${span(coverage.elapsedS)} ago`}>, {span(coverage.share * coverage.elapsedS)}</span>
        </span>
      ) : (
        <span>Today's coverage is not known yet</span>
      )}
    </p>
  );
}

function Vitals({ status }: { status: CameraObservation }) {
  const { processed_fps: processed, source_fps: source, latency_s: delay, frames_dropped: dropped } = status;
  return (
    <dl class="vitals">
      <div title="Processed frames per second; also the camera's rate if it is higher">
        <dt>speed</dt>
        <dd>{processed ? fps(processed, source) : UNKNOWN}</dd>
      </div>
      <div title="Time from capture to count, 95th percentile">
        <dt>delay</dt>
        <dd>{delay ? latency(delay) : UNKNOWN}</dd>
      </div>
      <div class={dropped ? "warn" : ""} title="Frames dropped since the run began, because processing was too slow">
        <dt>dropped</dt>
        <dd>{dropped ?? UNKNOWN}</dd>
      </div>
    </dl>
  );
}

/** Shows what a person should know about a source that is read all the same, and what to do. */
function Warnings({ camera, status }: { camera: Camera; status: CameraObservation }) {
  const warnings = warningsOf(camera, status);
  if (warnings.length === 0) return null;
  return (
    <ul class="warnings" aria-label="Warnings">
      {warnings.map((warning) => (
        <li key={warning.code} data-warning={warning.code}>
          {warning.message} <span class="advice">{warning.hint}</span>
        </li>
      ))}
    </ul>
  );
}

function shownState(camera: Camera, status: CameraObservation, now: Date): Shown {
  if (camera.status !== "active") return camera.status;
  const state = status.state ?? "waiting";
  if ((state !== "running" && state !== "degraded") || !status.reported_at) return state;
  const age = (now.getTime() - Date.parse(status.reported_at)) / 1000;
  return age > REPORTED_WITHIN_S ? "silent" : state;
}
