/** The second factor: setting it up with an app, recovery codes, switching it off. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Api, errorText } from "../api";
import type { BegunFactor, Factor } from "../contract";

/** Modules of light border that a QR code needs on each side. */
const QUIET_ZONE = 4;

/** Asks for the password and makes a secret, shows it as a QR code, checks a code of the app, shows recovery codes. */
export function FactorSetup({ api, enabled, onDone }: { api: Api; enabled: boolean; onDone: () => void }) {
  const [begun, setBegun] = useState<BegunFactor | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);

  if (codes) return <RecoveryCodes codes={codes} onDone={onDone} />;
  if (!begun) {
    return (
      <Proof
        asksForCode={enabled}
        action="Continue"
        submit={async (password, code) => setBegun(await api.beginFactor(password, code))}
      />
    );
  }
  return (
    <Form action="Switch on" submit={async (values) => setCodes(await api.confirmFactor(values.get("code") ?? ""))}>
      <p>Scan this with an authenticator app, then type the code that the app shows.</p>
      <QrCode rows={begun.qr_rows} />
      <p class="hint">
        Or type this secret into the app: <code class="secret">{begun.secret}</code>
      </p>
      <CodeField label="Code" />
    </Form>
  );
}

/** What a user can do with the own second factor. */
export function FactorPanel({ api }: { api: Api }) {
  const [factor, setFactor] = useState<Factor | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [task, setTask] = useState<"setup" | "codes" | "off" | null>(null);

  function show(): void {
    setTask(null);
    api.factor().then(setFactor, (error: unknown) => setTrouble(errorText(error)));
  }

  useEffect(show, []);

  return (
    <>
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      {factor && task === null && <Choices factor={factor} choose={setTask} />}
      {task === "setup" && <FactorSetup api={api} enabled={factor?.enabled ?? false} onDone={show} />}
      {task === "codes" && <NewCodes api={api} onDone={show} />}
      {task === "off" && (
        <Proof
          asksForCode
          action="Switch off"
          submit={async (password, code) => {
            await api.disableFactor(password, code);
            show();
          }}
        />
      )}
    </>
  );
}

function Choices({ factor, choose }: { factor: Factor; choose: (task: "setup" | "codes" | "off") => void }) {
  if (!factor.enabled) {
    return (
      <>
        <p>Off. With a second factor, each login asks for a code of an app on your phone too.</p>
        <button type="button" class="primary" onClick={() => choose("setup")}>
          Set up
        </button>
      </>
    );
  }
  return (
    <>
      <p>On. {factor.recovery_codes_left} recovery codes are left.</p>
      <button type="button" class="quiet" onClick={() => choose("codes")}>
        New recovery codes
      </button>
      <button type="button" class="quiet" onClick={() => choose("setup")}>
        Use another app
      </button>
      {factor.required ? (
        <p class="hint">Your role requires a second factor.</p>
      ) : (
        <button type="button" class="quiet" onClick={() => choose("off")}>
          Switch off
        </button>
      )}
    </>
  );
}

function NewCodes({ api, onDone }: { api: Api; onDone: () => void }) {
  const [codes, setCodes] = useState<string[] | null>(null);
  if (codes) return <RecoveryCodes codes={codes} onDone={onDone} />;
  return (
    <Proof
      asksForCode
      action="Make new recovery codes"
      submit={async (password, code) => setCodes(await api.renewRecoveryCodes(password, code))}
    />
  );
}

function RecoveryCodes({ codes, onDone }: { codes: string[]; onDone: () => void }) {
  return (
    <>
      <p>
        Each of these recovery codes opens one login without the app. Keep them in a safe place: they are not shown
        again.
      </p>
      <pre class="codes">{codes.join("\n")}</pre>
      <button type="button" class="primary" onClick={onDone}>
        I have stored them
      </button>
    </>
  );
}

interface ProofProps {
  asksForCode: boolean;
  action: string;
  submit: (password: string, code: string) => Promise<void>;
}

/** Asks for the password, and for a code of the present second factor. */
function Proof({ asksForCode, action, submit }: ProofProps) {
  return (
    <Form action={action} submit={(values) => submit(values.get("password") ?? "", values.get("code") ?? "")}>
      <label>
        Password
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      {asksForCode && <CodeField label="Code of the present app, or a recovery code" />}
    </Form>
  );
}

interface FormProps {
  action: string;
  submit: (values: Map<string, string>) => Promise<void>;
  children: preact.ComponentChildren;
}

/** A form that shows why it was refused. */
function Form({ action, submit, children }: FormProps) {
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  async function send(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const fields = [...new FormData(event.currentTarget as HTMLFormElement)];
    setBusy(true);
    setTrouble(null);
    try {
      await submit(new Map(fields.map(([name, value]) => [name, String(value)])));
    } catch (error) {
      setTrouble(errorText(error));
    }
    setBusy(false);
  }

  return (
    <form class="factor-form" onSubmit={send}>
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      {children}
      <button type="submit" class="primary" disabled={busy}>
        {action}
      </button>
    </form>
  );
}

/** A field for a code, in which the phone's keyboard and password managers offer what fits. */
export function CodeField({ label }: { label: string }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <label>
      {label}
      <input ref={field} name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck={false} required />
    </label>
  );
}

/** Rows of `0` and `1` as a QR code: dark on light in both colour schemes, or scanners do not read it. */
function QrCode({ rows }: { rows: string[] }) {
  const size = rows.length + 2 * QUIET_ZONE;
  const path = rows
    .flatMap((row, y) =>
      [...row].map((dark, x) => (dark === "1" ? `M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z` : "")),
    )
    .join("");
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="QR code for an authenticator app">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" shape-rendering="crispEdges" />
    </svg>
  );
}
