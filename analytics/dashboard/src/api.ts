/** The REST client of this page: one envelope, one error class, tokens renewed before they expire. */

import type {
  BegunFactor,
  Bucket,
  Camera,
  Counts,
  Factor,
  LoginChallenge,
  LoginMethods,
  Site,
  Tokens,
  User,
  VerifiedCamera,
} from "./contract";
import type { Session, SessionKeeper } from "./session";

const TIMEOUT_MS = 10_000;
/** Tokens are renewed this long before they expire, so that none expires while a request is in flight. */
const RENEW_BEFORE_MS = 60_000;
const SESSION_ENDED = "Session expired. Log in again.";

/**
 * A failed request. `message` and `hint` (what to do; may be empty) are texts for the user; `status` is the HTTP status,
 * 0 if the server did not respond.
 */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly requestId: string | null,
    readonly hint = "",
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** The text of an error for the user, with what to do and the request's id if there are any. */
export function errorText(error: unknown): string {
  if (error instanceof ApiError) {
    const text = error.hint ? `${error.message}; ${error.hint}` : error.message;
    return error.requestId ? `${text} (request ${error.requestId})` : text;
  }
  return error instanceof Error ? error.message : String(error);
}

interface Envelope<T> {
  success: boolean;
  data?: T;
  request_id?: string;
  errors?: { code: string; field?: string; message: string; hint?: string }[];
}

export class Api {
  private renewal: Promise<void> | null = null;
  /** The server's clock minus this browser's, from the Date header of the last response; accurate to a second. */
  private clockOffsetMs = 0;

  constructor(
    private readonly sessions: SessionKeeper,
    private readonly fetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init),
  ) {}

  /**
   * Opens a session; with a one-time password `choosePassword` completes it. Returns a challenge for `finishLogin` if the
   * user has a second factor. Throws ApiError: status 401 for a wrong name or password, 429 after too many failures.
   */
  async login(username: string, password: string): Promise<LoginChallenge | null> {
    const body = { username, password };
    const answer = await this.send<Session & { second_factor?: LoginChallenge }>("POST", "auth/login", body);
    if (answer.second_factor) return answer.second_factor;
    this.sessions.begin(answer);
    return null;
  }

  /** Opens the session with a code of the second factor. Throws ApiError: status 401 for a wrong code or a late one. */
  async finishLogin({ challenge }: LoginChallenge, code: string): Promise<void> {
    this.sessions.begin(await this.send<Session>("POST", "auth/login/factor", { challenge, code }));
  }

  /** Creates an account and opens its session. `invite` is empty where registration is open. */
  async register(username: string, password: string, invite: string): Promise<void> {
    await this.send("POST", "auth/register", { username, password, invite_token: invite });
    await this.login(username, password);
  }

  factor(): Promise<Factor> {
    return this.get<Factor>("auth/factor");
  }

  /** Makes a secret for an app. `code` is of the present second factor; empty if there is none. */
  beginFactor(password: string, code: string): Promise<BegunFactor> {
    return this.change<BegunFactor>("auth/factor", { password, code });
  }

  /** Switches the second factor on, and returns recovery codes. */
  async confirmFactor(code: string): Promise<string[]> {
    return (await this.change<{ recovery_codes: string[] }>("auth/factor/confirm", { code })).recovery_codes;
  }

  async renewRecoveryCodes(password: string, code: string): Promise<string[]> {
    const body = { password, code };
    return (await this.change<{ recovery_codes: string[] }>("auth/factor/recovery-codes", body)).recovery_codes;
  }

  async disableFactor(password: string, code: string): Promise<void> {
    await this.change("auth/factor/disable", { password, code });
  }

  /** Opens the session of a user who has done what was to do before. */
  async proceed(): Promise<void> {
    const { tokens } = await this.send<{ tokens: Tokens }>("POST", "auth/refresh", {});
    this.sessions.begin({ tokens, user: await this.userOf(tokens) });
  }

  /** Replaces a one-time password and opens the session. Throws ApiError: status 400 for a weak password. */
  async choosePassword({ tokens, user }: Session, password: string): Promise<void> {
    await this.send("POST", "auth/password", { new_password: password }, tokens.access_token);
    const renewed = await this.send<{ tokens: Tokens }>("POST", "auth/refresh", {});
    this.sessions.begin({ tokens: renewed.tokens, user: { ...user, must_change_password: false } });
  }

  /** Returns how a person can log in here. */
  loginMethods(): Promise<LoginMethods> {
    return this.send<LoginMethods>("GET", "auth/methods");
  }

  /**
   * Begins a login through the identity provider. Returns the address of its login page; the provider sends the browser
   * back to the gateway, which opens the session. Throws ApiError: status 503 if the provider does not answer.
   */
  async startOidcLogin(): Promise<string> {
    // Otherwise the open logout would end the session that the provider's answer opens.
    if (this.sessions.logoutIsOpen) await this.closeOnServer();
    return (await this.send<{ authorization_url: string }>("POST", "auth/oidc/start", {})).authorization_url;
  }

  /** Opens the session of the browser's cookie, if there is one. Never throws: the login form shows what is wrong. */
  async restore(): Promise<void> {
    try {
      if (this.sessions.logoutIsOpen) await this.closeOnServer();
      await this.proceed();
    } catch (error) {
      const refused = error instanceof ApiError && (error.status === 401 || error.status === 403);
      this.sessions.end(refused ? null : errorText(error));
    }
  }

  /** Ends the session in this tab at once, and on the server as soon as the server can be reached. */
  async logout(): Promise<void> {
    this.sessions.end(null);
    this.sessions.logoutIsOpen = true;
    try {
      await this.closeOnServer();
    } catch (error) {
      console.warn("The logout did not reach the server; this page tries again when it is opened.", error);
    }
  }

  /** Ends all sessions of the user, also this one. Throws ApiError if the server did not: then all sessions go on. */
  async logoutEverywhere(): Promise<void> {
    await this.change("auth/logout-everywhere", {});
    this.sessions.end(null);
  }

  /**
   * Returns an access token that is valid for at least a minute, or for half its life if that is shorter. Renews the
   * token if needed. If the server refuses the renewal, the session ends. Throws ApiError if no token can be obtained.
   */
  async accessToken(): Promise<string> {
    const session = this.required();
    if (Date.parse(session.tokens.access_expires_at) - this.now().getTime() < this.renewBeforeMs(session.tokens)) {
      await this.renew();
    }
    return this.required().tokens.access_token;
  }

  /** Gets a new access token through the cookie. Concurrent callers share one exchange. */
  renew(): Promise<void> {
    this.renewal ??= this.exchange().finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  /** The server's time. Browsers' clocks are wrong more often than servers'. */
  now(): Date {
    return new Date(Date.now() + this.clockOffsetMs);
  }

  sites(): Promise<Site[]> {
    return this.pages<Site>("sites", "sites");
  }

  cameras(): Promise<Camera[]> {
    return this.pages<Camera>("cameras", "cameras");
  }

  /** Counts by line, of one camera or, without `cameraId`, of all cameras. */
  counts(query: { cameraId?: string; start: Date; end?: Date; bucket: Bucket }): Promise<Counts> {
    const search = new URLSearchParams({ bucket: query.bucket, group_by: "line", start: query.start.toISOString() });
    if (query.cameraId) search.set("camera_id", query.cameraId);
    if (query.end) search.set("end", query.end.toISOString());
    return this.get<Counts>(`analytics/counts?${search}`);
  }

  /** Compares counts with true crossings, for every camera that has a truth set. */
  async verify(start: Date): Promise<VerifiedCamera[]> {
    const data = await this.get<{ cameras?: VerifiedCamera[] }>(`analytics/verify?start=${start.toISOString()}`);
    return data.cameras ?? [];
  }

  private async pages<T>(path: string, field: string): Promise<T[]> {
    const all: T[] = [];
    let token = "";
    do {
      const search = new URLSearchParams({ page_size: "1000", ...(token && { page_token: token }) });
      const page = await this.get<Record<string, unknown>>(`${path}?${search}`);
      all.push(...((page[field] as T[] | undefined) ?? []));
      token = (page.next_page_token as string | undefined) ?? "";
    } while (token);
    return all;
  }

  private async get<T>(path: string): Promise<T> {
    const token = await this.accessToken();
    try {
      return await this.send<T>("GET", path, undefined, token);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      // The token is refused although it has not expired (the server's clock or key differs): renew once, then give up.
      await this.renew();
      return this.send<T>("GET", path, undefined, this.required().tokens.access_token);
    }
  }

  /** Changes something of the user's own account, also before the session begins. It is never repeated. */
  private async change<T>(path: string, body: unknown): Promise<T> {
    const token = this.sessions.unfinished.value?.tokens.access_token ?? (await this.accessToken());
    return this.send<T>("POST", path, body, token);
  }

  private async closeOnServer(): Promise<void> {
    await this.send("POST", "auth/logout", {});
    this.sessions.logoutIsOpen = false;
  }

  private async exchange(): Promise<void> {
    try {
      const { user } = this.required();
      const { tokens } = await this.send<{ tokens: Tokens }>("POST", "auth/refresh", {});
      // All tabs share the cookie: another user may have logged in in another tab.
      const { sub, pending } = claimsOf(tokens.access_token);
      // A role may require a second factor since the last renewal.
      const same = (sub ?? user.user_id) === user.user_id && !pending;
      this.sessions.begin({ tokens, user: same ? user : await this.userOf(tokens) });
    } catch (error) {
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) this.sessions.end(SESSION_ENDED);
      throw error;
    }
  }

  private async userOf(tokens: Tokens): Promise<User> {
    return (await this.send<{ user: User }>("GET", "auth/me", undefined, tokens.access_token)).user;
  }

  private required() {
    const session = this.sessions.session.value;
    if (!session) throw new ApiError(SESSION_ENDED, 401, "unauthenticated", null);
    return session;
  }

  /** A token that lives for less than two margins is renewed at half its life; otherwise every call would renew it. */
  private renewBeforeMs(tokens: Tokens): number {
    return Math.min(RENEW_BEFORE_MS, issuedLifeMs(tokens.access_token, tokens.access_expires_at) / 2);
  }

  private async send<T>(method: string, path: string, body?: unknown, token?: string): Promise<T> {
    const headers: Record<string, string> = { accept: "application/json", "x-countline-session": "cookie" };
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const init: RequestInit = { method, headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (body !== undefined) init.body = JSON.stringify(body);
    let response: Response;
    try {
      response = await this.fetch(`/api/v1/${path}`, init);
    } catch {
      throw new ApiError("Could not reach the server. Is `countline up` running?", 0, "unreachable", null);
    }
    this.setClock(response.headers.get("date"));
    return unwrap<T>(response);
  }

  private setClock(date: string | null): void {
    const offsetMs = date === null ? Number.NaN : Date.parse(date) - Date.now();
    // The header has whole seconds and is slightly old, so a difference below two seconds is not corrected.
    if (!Number.isNaN(offsetMs)) this.clockOffsetMs = Math.abs(offsetMs) < 2000 ? 0 : offsetMs;
  }
}

async function unwrap<T>(response: Response): Promise<T> {
  let envelope: Envelope<T>;
  try {
    envelope = (await response.json()) as Envelope<T>;
  } catch {
    // A proxy's error page is HTML; a crashed server may send no body.
    const message = `The server returned HTTP ${response.status} without an error message.`;
    throw new ApiError(message, response.status, "unknown", null);
  }
  if (response.ok && envelope.success) return (envelope.data ?? {}) as T;
  const errors = envelope.errors ?? [];
  const message = errors.map(problemText).join("; ") || `The server returned HTTP ${response.status}.`;
  const { code = "unknown", hint = "" } = errors[0] ?? {};
  throw new ApiError(message, response.status, code, envelope.request_id ?? null, hint);
}

/** A problem of a field names the field: "password is wrong". */
function problemText({ field, message }: { field?: string; message: string }): string {
  return field === "password" || field === "code" || field === "username" ? `${field} ${message}` : message;
}

/** Lifetime of a signed token in milliseconds, from its claim `iat`; infinite if the token has no `iat`. */
function issuedLifeMs(token: string, expiresAt: string): number {
  const { iat } = claimsOf(token);
  return typeof iat === "number" ? Date.parse(expiresAt) - iat * 1000 : Number.POSITIVE_INFINITY;
}

/** Claims of a signed token; none if the token cannot be read. The server checks the signature, the page does not. */
function claimsOf(token: string): { iat?: unknown; sub?: unknown; pending?: unknown } {
  try {
    return JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return {};
  }
}
