/** The page: the dashboard for a logged-in user, otherwise the login form. */

import { useEffect, useState } from "preact/hooks";
import type { Api } from "../api";
import { count, percent } from "../format";
import type { SessionKeeper } from "../session";
import { Store } from "../store";
import { AccountDialog } from "./account";
import { Cameras } from "./cameras";
import { Header } from "./header";
import { Login } from "./login";
import { inviteOf, Register } from "./register";

interface Props {
  api: Api;
  sessions: SessionKeeper;
  socketUrl: string;
}

export function App({ api, sessions, socketUrl }: Props) {
  const [invite, setInvite] = useState(() => inviteOf(window.location.hash));
  const session = sessions.session.value;
  if (sessions.restoring.value) return null;
  if (invite !== null) {
    const done = () => {
      window.history.replaceState(null, "", window.location.pathname);
      setInvite(null);
    };
    return <Register api={api} invite={invite} onDone={done} />;
  }
  if (!session) return <Login api={api} because={sessions.endedBecause.value} once={sessions.unfinished.value} />;
  return <Dashboard key={session.user.user_id} api={api} username={session.user.username} socketUrl={socketUrl} />;
}

function Dashboard({ api, username, socketUrl }: { api: Api; username: string; socketUrl: string }) {
  const [store] = useState(() => new Store(api, socketUrl));
  const [showsAccount, setShowsAccount] = useState(false);
  useEffect(() => {
    store.start();
    return () => store.stop();
  }, [store]);
  return (
    <>
      <Title store={store} />
      <Header
        store={store}
        username={username}
        onAccount={() => setShowsAccount(true)}
        onLogout={() => void api.logout()}
      />
      {showsAccount && <AccountDialog api={api} onClose={() => setShowsAccount(false)} />}
      <Cameras store={store} api={api} />
      <div class="unseen" role="status" aria-live="polite">
        {store.announcement}
      </div>
    </>
  );
}

/** Shows today's total and its coverage in the tab's title. */
function Title({ store }: { store: Store }) {
  const sum = store.sum.value;
  const coverage = overall(store);
  useEffect(() => {
    const share = coverage === null ? "coverage unknown" : `${percent(coverage)} covered`;
    document.title = sum ? `${count(sum.in + sum.out)} today, ${share} · Countline` : "Countline";
    return () => {
      document.title = "Countline";
    };
  }, [sum, coverage]);
  return null;
}

/** Mean coverage of today over all cameras (0..1); null while it is unknown. */
export function overall(store: Store): number | null {
  const shares = [...(store.coverage.value?.values() ?? [])].map((one) => one.share);
  return shares.length === 0 ? null : shares.reduce((sum, share) => sum + share, 0) / shares.length;
}
