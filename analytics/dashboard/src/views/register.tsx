/** The page that the link of an invite opens, and `/#register` where registration is open. */

import { useState } from "preact/hooks";
import { type Api, errorText } from "../api";
import { Logo } from "./icons";

/**
 * Returns the token of an invite in the fragment of the page's address: empty for `#register`, null if the page is not
 * opened to register. Browsers send no fragment, so the token reaches no log.
 */
export function inviteOf(hash: string): string | null {
  if (hash === "#register") return "";
  return /^#invite=([\w-]+)$/.exec(hash)?.[1] ?? null;
}

interface Props {
  api: Api;
  invite: string;
  /** Called when the account exists, or the user wants to log in instead. */
  onDone: () => void;
}

export function Register({ api, invite, onDone }: Props) {
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const values = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setTrouble(null);
    try {
      await api.register(String(values.get("username")).trim(), String(values.get("password")), invite);
      onDone();
    } catch (error) {
      setTrouble(errorText(error));
      setBusy(false);
    }
  }

  return (
    <main class="login">
      <form class="login-form" onSubmit={submit}>
        <h1>
          <Logo /> Countline
        </h1>
        <p class="lede">Create your account.</p>
        {trouble && (
          <p class="trouble" role="alert">
            {trouble}
          </p>
        )}
        <label>
          User name
          <input name="username" autocomplete="username" autocapitalize="none" spellcheck={false} required />
        </label>
        <label>
          Password
          <input name="password" type="password" autocomplete="new-password" minLength={10} required />
        </label>
        <button type="submit" class="primary" disabled={busy}>
          Create account
        </button>
        <button type="button" class="quiet" onClick={onDone}>
          I have an account
        </button>
        <p class="hint">Choose a password that is hard to guess: several uncommon words.</p>
      </form>
    </main>
  );
}
