/** The cameras, and the chart of the chosen one. */

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
      {troubles.map(([what, words]) => (
        <p key={what} class="trouble" role="alert" data-trouble={what}>
          <strong>{TROUBLES[what as keyof typeof TROUBLES]}</strong> {words} It is tried again by itself.
        </p>
      ))}
      {cameras === null && troubles.length === 0 && <p class="loading">Asking for the cameras …</p>}
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
  cameras: "The cameras could not be asked for.",
  coverage: "The coverage of today is not up to date.",
  verify: "The comparison with the truth is not up to date.",
};
