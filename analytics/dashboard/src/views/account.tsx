/** The user's own account, in a dialog: the second factor, and the end of all sessions. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Api, errorText } from "../api";
import { FactorPanel } from "./factor";

export function AccountDialog({ api, onClose }: { api: Api; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="sheet" aria-labelledby="account-title" onClose={onClose}>
      <h2 id="account-title">Account</h2>
      <h3>Second factor</h3>
      <FactorPanel api={api} />
      <h3>Sessions</h3>
      <Sessions api={api} />
      <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}

function Sessions({ api }: { api: Api }) {
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  async function end(): Promise<void> {
    setBusy(true);
    setTrouble(null);
    try {
      await api.logoutEverywhere();
    } catch (error) {
      setTrouble(errorText(error));
      setBusy(false);
    }
  }

  return (
    <>
      <p>Ends all your sessions within seconds, in this browser and everywhere else. API keys go on working.</p>
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      <button type="button" class="quiet" disabled={busy} onClick={end}>
        Log out everywhere
      </button>
    </>
  );
}
