/** The camera cards, and the chart of the selected camera. */

import { useState } from "preact/hooks";
import type { Api } from "../api";
import type { Store } from "../store";
import { Card } from "./card";
import { Chart } from "./chart";
import { NoCameras } from "./empty";

export function Cameras({ store, api }: { store: Store; api: Api }) {
  const [chosen, choose] = useState<string | null>(null);
  const [large, enlarge] = useState<string | null>(null);
  const cameras = store.cameras.value;
  const troubles = Object.entries(store.troubles.value);
  const current = cameras?.find((camera) => camera.camera_id === chosen) ?? cameras?.[0];

  return (
    <main class={`cameras ${store.connection.value.kind === "live" ? "" : "cut-off"}`}>
      {troubles.map(([what, message]) => (
        <p key={what} class="trouble" role="alert" data-trouble={what}>
          <strong>{TROUBLES[what as keyof typeof TROUBLES]}</strong> {message} Retrying automatically.
        </p>
      ))}
      {cameras === null && troubles.length === 0 && <p class="loading">Loading cameras …</p>}
      {cameras?.length === 0 && <NoCameras withoutSite={store.sites.value.length === 0} />}
      <section class="grid" aria-label="Cameras">
        {cameras?.map((camera) => (
          <Card
            key={camera.camera_id}
            store={store}
            camera={camera}
            chosen={camera === current}
            onChoose={() => choose(camera.camera_id)}
            large={camera.camera_id === large}
            onEnlarge={() => enlarge(camera.camera_id === large ? null : camera.camera_id)}
          />
        ))}
      </section>
      {current && <Chart store={store} api={api} cameras={cameras ?? []} camera={current} onChoose={choose} />}
    </main>
  );
}

const TROUBLES = {
  cameras: "Could not load cameras.",
  coverage: "Today's coverage is out of date.",
  verify: "The comparison with true counts is out of date.",
};
