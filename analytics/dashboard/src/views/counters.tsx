/** The counters of one camera by line and direction: today's counts, and the last hour compared with true counts. */

import type { Camera, Direction, VerifiedCamera, VerifiedDirection } from "../contract";
import { count, roughly, span, UNKNOWN } from "../format";
import type { Store } from "../store";
import { Cross, Tick } from "./icons";

export function Counters({ store, camera, lines }: { store: Store; camera: Camera; lines: string[] }) {
  const present = new Set((camera.spec?.lines ?? []).map((one) => one.line_id));
  const verified = store.verified.value?.get(camera.camera_id);
  return (
    <table class="counters">
      <caption class="unseen">Today's crossings by line and direction</caption>
      <thead>
        <tr>
          <th scope="col">today</th>
          <th scope="col" class="in">
            in
          </th>
          <th scope="col" class="out">
            out
          </th>
        </tr>
      </thead>
      {lines.map((line) => (
        <tbody key={line} data-line={line}>
          <tr class="now">
            <th scope="row">
              {line}
              {!present.has(line) && <span class="muted"> (removed)</span>}
            </th>
            <Counter store={store} camera={camera} line={line} direction="in" />
            <Counter store={store} camera={camera} line={line} direction="out" />
          </tr>
          <Checked verified={verified} line={line} />
        </tbody>
      ))}
    </table>
  );
}

function Counter(props: { store: Store; camera: Camera; line: string; direction: Direction }) {
  const { store, camera, line, direction } = props;
  const counts = store.line(camera.camera_id, line).value;
  // Without coverage there is no count; zero would be wrong.
  const uncovered = store.coverage.value?.get(camera.camera_id)?.share === 0 && counts.in + counts.out === 0;
  const known = store.sum.value !== null;
  const crossing = counts.last?.direction === direction ? counts.last.crossingId : null;
  return (
    <td class={direction} data-direction={direction} data-count={known ? counts[direction] : ""}>
      {/* A new key makes a new element, which restarts the pulse. */}
      <span key={crossing} class={`number ${crossing ? "pulse" : ""}`}>
        {known && !uncovered ? count(counts[direction]) : UNKNOWN}
      </span>
    </td>
  );
}

function Checked({ verified, line }: { verified: VerifiedCamera | undefined; line: string }) {
  const result = verified?.lines.find((one) => one.line_id === line);
  // If no time was verified, agreement means nothing.
  if (!verified || !result || verified.verified_s === 0) return null;
  return (
    <tr class="checked" data-verified-s={verified.verified_s}>
      <th
        scope="row"
        title={`Compared with true counts over the ${span(verified.verified_s)} of the last hour that were covered`}
      >
        counted / true, {roughly(verified.verified_s)}
      </th>
      <Comparison result={result.in} direction="in" />
      <Comparison result={result.out} direction="out" />
    </tr>
  );
}

function Comparison({ result, direction }: { result: VerifiedDirection; direction: Direction }) {
  const agree = result.missed === 0 && result.false === 0;
  return (
    <td
      class={agree ? "agree" : "differ"}
      data-checked={direction}
      data-counted={result.counted}
      data-true={result.true}
      data-missed={result.missed}
      data-false={result.false}
    >
      <span class="pair">
        {count(result.counted)} / {count(result.true)} {agree ? <Tick /> : <Cross />}
      </span>
      <span class="unseen">{agree ? "agree" : "differ"}</span>
      {!agree && (
        <span class="faults">
          {[result.missed && `${result.missed} missed`, result.false && `${result.false} false`]
            .filter(Boolean)
            .join(", ")}
        </span>
      )}
    </td>
  );
}
