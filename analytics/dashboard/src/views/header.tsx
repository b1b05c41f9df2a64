/** The top of the page: site, local time, today's totals, connection, user. */

import { clock, count, percent, UNKNOWN } from "../format";
import type { Connection } from "../socket";
import type { Store } from "../store";
import { overall } from "./app";
import { Logo } from "./icons";

interface Props {
  store: Store;
  username: string;
  onAccount: () => void;
  onLogout: () => void;
}

export function Header({ store, username, onAccount, onLogout }: Props) {
  return (
    <header class="top">
      <h1 class="brand">
        <Logo /> Countline
      </h1>
      <Where store={store} />
      <Total store={store} />
      <Link store={store} />
      <div class="who">
        <span class="username">{username}</span>
        <button type="button" class="quiet" onClick={onAccount}>
          Account
        </button>
        <button type="button" class="quiet" onClick={onLogout}>
          Log out
        </button>
      </div>
    </header>
  );
}

function Where({ store }: { store: Store }) {
  const sites = store.sites.value;
  const zone = store.timeZone(undefined);
  const [site] = sites;
  if (!site) return <div class="where" />;
  return (
    <div class="where">
      <span class="site">{sites.length === 1 ? site.title || site.site_id : `${sites.length} sites`}</span>
      <span class="clock">
        <time>{clock(store.now.value, zone, true)}</time> {zone}
      </span>
    </div>
  );
}

function Total({ store }: { store: Store }) {
  const sum = store.sum.value;
  const coverage = overall(store);
  return (
    <dl class="total" data-total-in={sum?.in} data-total-out={sum?.out}>
      <div class="in">
        <dt>in today</dt>
        <dd>{sum ? count(sum.in) : UNKNOWN}</dd>
      </div>
      <div class="out">
        <dt>out today</dt>
        <dd>{sum ? count(sum.out) : UNKNOWN}</dd>
      </div>
      <div>
        <dt title="Share of the time since midnight in which the cameras were processed">covered</dt>
        <dd>{coverage === null ? UNKNOWN : percent(coverage)}</dd>
      </div>
    </dl>
  );
}

function Link({ store }: { store: Store }) {
  const connection = store.connection.value;
  return (
    <div class={`link ${connection.kind}`} data-connection={connection.kind}>
      <span class="dot" aria-hidden="true" />
      {connectionText(connection, store)}
    </div>
  );
}

function connectionText(connection: Connection, store: Store): string {
  if (connection.kind === "live") return "Live";
  const asOf = store.countsAsOf.value;
  const standing = asOf ? `; counters as of ${clock(asOf, store.timeZone(undefined), true)}` : "";
  if (connection.kind !== "waiting") return `Connecting …${standing}`;
  // Reading the clock renders this again every second, so that the countdown runs.
  void store.now.value;
  const seconds = Math.max(0, Math.ceil((connection.retryAt - Date.now()) / 1000));
  return `Not connected, retrying in ${seconds} s${standing}`;
}
