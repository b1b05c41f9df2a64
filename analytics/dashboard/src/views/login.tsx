/** The login form, and its error texts. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Api, ApiError, errorText } from "../api";
import { Logo } from "./icons";

export function Login({ api, because }: { api: Api; because: string | null }) {
  const [trouble, setTrouble] = useState<string | null>(because);
  const [busy, setBusy] = useState(false);
  const password = useRef<HTMLInputElement>(null);
  const username = useRef<HTMLInputElement>(null);

  useEffect(() => password.current?.focus(), []);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    try {
      await api.login(username.current?.value.trim() ?? "", password.current?.value ?? "");
    } catch (error) {
      setTrouble(loginErrorText(error));
      setBusy(false);
      password.current?.select();
    }
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
            defaultValue="admin"
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            required
          />
        </label>
        <label>
          Password
          <input ref={password} name="password" type="password" autocomplete="current-password" required />
        </label>
        <button type="submit" class="primary" disabled={busy}>
          {busy ? "Logging in …" : "Log in"}
        </button>
        <p class="hint">
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
