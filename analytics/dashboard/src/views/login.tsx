/** The login form, and its error texts. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Api, ApiError, errorText } from "../api";
import type { Session } from "../session";
import { Logo } from "./icons";

interface Props {
  api: Api;
  because: string | null;
  /** A login with a one-time password, until the user has chosen another one. */
  once: Session | null;
}

export function Login({ api, because, once }: Props) {
  const [trouble, setTrouble] = useState<string | null>(because);
  const [busy, setBusy] = useState(false);
  const password = useRef<HTMLInputElement>(null);
  const username = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (password.current && once) password.current.value = "";
    password.current?.focus();
  }, [once]);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    try {
      const given = password.current?.value ?? "";
      if (once) await api.choosePassword(once, given);
      else await api.login(username.current?.value.trim() ?? "", given);
    } catch (error) {
      setTrouble(loginErrorText(error));
      password.current?.select();
    }
    setBusy(false);
  }

  return (
    <main class="login">
      <form class="login-form" onSubmit={submit} aria-describedby={trouble ? "login-trouble" : undefined}>
        <h1>
          <Logo /> Countline
        </h1>
        <p class="lede">Counts that people can trust.</p>
        {trouble && (
          <p id="login-trouble" class="trouble" role="alert">
            {trouble}
          </p>
        )}
        <label>
          User name
          <input
            ref={username}
            name="username"
            defaultValue={once?.user.username ?? "admin"}
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            readOnly={once !== null}
            required
          />
        </label>
        <label>
          {once ? "New password" : "Password"}
          <input
            ref={password}
            name="password"
            type="password"
            autocomplete={once ? "new-password" : "current-password"}
            minLength={once ? 10 : undefined}
            required
          />
        </label>
        <button type="submit" class="primary" disabled={busy}>
          {busy ? "Logging in …" : once ? "Set password and log in" : "Log in"}
        </button>
        <p class="hint" hidden={once === null}>
          You logged in with a one-time password. Choose one that is hard to guess: several uncommon words.
        </p>
        <p class="hint" hidden={once !== null}>
          The first <code>countline up</code> prints the password of <code>admin</code>. It is also in the data folder:{" "}
          <code>credentials/admin-password</code>.
        </p>
      </form>
    </main>
  );
}

function loginErrorText(error: unknown): string {
  if (!(error instanceof ApiError)) return errorText(error);
  if (error.status === 401) return "User name or password is wrong.";
  if (error.status === 429)
    return `Too many failed attempts. ${[error.message, error.hint].filter(Boolean).join("; ")}`;
  if (error.status >= 500) return `Login failed: ${errorText(error)}`;
  return errorText(error);
}
