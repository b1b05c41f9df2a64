/** The login form, with the button of the identity provider if there is one, and the error texts. */

import { type RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Api, ApiError, errorText } from "../api";
import type { LoginChallenge, LoginMethods } from "../contract";
import type { Session } from "../session";
import { CodeField, FactorSetup } from "./factor";
import { Logo } from "./icons";

interface Props {
  api: Api;
  because: string | null;
  /** A login whose user has to do something first: choose a password, or set up a second factor. */
  once: Session | null;
}

export function Login({ api, because, once: unfinished }: Props) {
  const once = unfinished?.user.must_change_password ? unfinished : null;
  const [challenge, setChallenge] = useState<LoginChallenge | null>(null);
  const [trouble, setTrouble] = useState<string | null>(() => because ?? oidcTrouble());
  const [methods, setMethods] = useState<LoginMethods>({});
  const [busy, setBusy] = useState(false);
  const password = useRef<HTMLInputElement>(null);
  const username = useRef<HTMLInputElement>(null);

  useEffect(() => {
    // Without an answer the form is shown: a login with a password then says what is wrong.
    api.loginMethods().then(setMethods, (error) => console.warn("The login methods are unknown.", error));
  }, [api]);

  useEffect(() => {
    if (password.current && once) password.current.value = "";
    password.current?.focus();
  }, [once]);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    const code = String(new FormData(event.currentTarget as HTMLFormElement).get("code") ?? "");
    try {
      const given = password.current?.value ?? "";
      if (once) await api.choosePassword(once, given);
      else if (challenge) await api.finishLogin(challenge, code);
      else setChallenge(await api.login(username.current?.value.trim() ?? "", given));
    } catch (error) {
      setTrouble(loginErrorText(error, challenge !== null));
      password.current?.select();
    }
    setBusy(false);
  }

  async function signInWithProvider(): Promise<void> {
    setBusy(true);
    setTrouble(null);
    try {
      window.location.assign(await api.startOidcLogin());
    } catch (error) {
      setTrouble(`Login failed: ${errorText(error)}`);
      setBusy(false);
    }
  }

  if (unfinished && !once) {
    return (
      <main class="login">
        <div class="login-form">
          <h1>
            <Logo /> Countline
          </h1>
          <p>Your role requires a second factor. Set it up now: you need an authenticator app on your phone.</p>
          <FactorSetup api={api} enabled={false} onDone={() => void api.proceed()} />
        </div>
      </main>
    );
  }
  const takesPassword = once !== null || methods.passwords !== "nobody";
  const offersProvider = methods.oidc_name && once === null && challenge === null;
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
        {offersProvider && (
          <button type="button" class="primary" disabled={busy} onClick={() => void signInWithProvider()}>
            Sign in with {methods.oidc_name}
          </button>
        )}
        {methods.passwords === "super-admins" && <p class="hint">Passwords are for super-admins only.</p>}
        {takesPassword && (
          <>
            <NameAndPassword once={once} fixed={challenge !== null} username={username} password={password} />
            {challenge && <CodeField label="Code of your authenticator app, or a recovery code" />}
            <button type="submit" class="primary" disabled={busy}>
              {busy ? "Logging in …" : once ? "Set password and log in" : "Log in"}
            </button>
            <p class="hint" hidden={once === null}>
              You logged in with a one-time password. Choose one that is hard to guess: several uncommon words.
            </p>
            {challenge && (
              <button type="button" class="quiet" onClick={() => setChallenge(null)}>
                Back
              </button>
            )}
            <p class="hint" hidden={once !== null || challenge !== null}>
              The first <code>countline up</code> prints the password of <code>admin</code>. It is also in the data
              folder: <code>credentials/admin-password</code>.
            </p>
          </>
        )}
      </form>
    </main>
  );
}

interface Fields {
  once: Session | null;
  /** Whether they were given and wait for a code. */
  fixed: boolean;
  username: RefObject<HTMLInputElement | null>;
  password: RefObject<HTMLInputElement | null>;
}

function NameAndPassword({ once, fixed, username, password }: Fields) {
  return (
    <>
      <label>
        User name
        <input
          ref={username}
          name="username"
          defaultValue={once?.user.username ?? "admin"}
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          readOnly={once !== null || fixed}
          required
        />
      </label>
      <label>
        {once ? "New password" : "Password"}
        <input
          ref={password}
          name="password"
          type="password"
          readOnly={fixed}
          autocomplete={once ? "new-password" : "current-password"}
          minLength={once ? 10 : undefined}
          required
        />
      </label>
    </>
  );
}

function loginErrorText(error: unknown, asksForCode: boolean): string {
  if (!(error instanceof ApiError)) return errorText(error);
  if (error.status === 401 && !asksForCode) return "User name or password is wrong.";
  if (error.status === 429)
    return `Too many failed attempts. ${[error.message, error.hint].filter(Boolean).join("; ")}`;
  if (error.status >= 500) return `Login failed: ${errorText(error)}`;
  return errorText(error);
}

const OIDC_TROUBLES: Record<string, string> = {
  unauthenticated:
    "The login was not completed: it was cancelled, took too long, or was opened in another browser. Sign in again.",
  permission_denied: "Your account has no access here. Ask an administrator to give one of your groups a role.",
  unavailable: "The identity provider does not answer. Try again later, or log in with a password.",
  deadline_exceeded: "The identity provider does not answer in time. Try again later, or log in with a password.",
  resource_exhausted: "Too many failed attempts. Try again in a few minutes.",
};

/**
 * Why a login through the identity provider failed; null if none did. The gateway puts a code into the address. The
 * text is the page's own: anybody can make a link to this page.
 */
function oidcTrouble(): string | null {
  const code = new URLSearchParams(window.location.search).get("login_error");
  if (code === null) return null;
  window.history.replaceState(null, "", window.location.pathname);
  return OIDC_TROUBLES[code] ?? "The login failed. Ask an administrator to look at the log of the server.";
}
