/**
 * The WebSocket connection: logs in, subscribes, reconnects. Its listener handles the messages.
 *
 * Reconnect policy: the wait starts at 0.5 s and doubles up to 15 s, with jitter, so that many pages do not reconnect
 * at the same time. After 10 s of silence the socket sends a ping; after 10 s more it counts as dead. When the browser
 * reports that the network is back, the socket reconnects at once.
 */

import type { ServerMessage } from "./contract";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const READY_WITHIN_MS = 10_000;
const SILENCE_MS = 10_000;
/** After a connection that lasted this long, the first reconnect has the shortest wait again. */
const GOOD_AFTER_MS = 5_000;
/** The server closes a socket whose token expires, so a renewed token is sent before that. */
const RENEW_LOGIN_EVERY_MS = 20_000;
const CLOSED_TOO_SLOW = 4408;
const CLOSED_UNAUTHENTICATED = 4401;

export type Connection =
  | { kind: "idle" }
  | { kind: "connecting" }
  | { kind: "live" }
  /** Disconnected; the next attempt is at `retryAt` (Unix milliseconds). */
  | { kind: "waiting"; retryAt: number; reason: string };

export interface Listener {
  onConnection(connection: Connection): void;
  onMessage(message: ServerMessage): void;
  onBinary(message: ArrayBuffer): void;
}

export interface SocketSettings {
  url: string;
  /** Returns a valid access token; rejects if none can be obtained. */
  token: () => Promise<string>;
  /** Called when the server refuses the token, to renew it before the next attempt. */
  onRefused: () => Promise<void>;
  open?: (url: string) => WebSocket;
  random?: () => number;
}

/** Returns extra fields of a subscription; called at each (re)subscription. */
type Extra = () => Record<string, unknown>;

export class LiveSocket {
  private socket: WebSocket | null = null;
  private ready = false;
  private running = false;
  private attempt = 0;
  private readonly wanted = new Map<string, Extra>();
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private watchTimer: ReturnType<typeof setTimeout> | undefined;
  private goodTimer: ReturnType<typeof setTimeout> | undefined;
  private loginTimer: ReturnType<typeof setInterval> | undefined;
  private token = "";

  constructor(
    private readonly settings: SocketSettings,
    private readonly listener: Listener,
  ) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.attempt = 0;
    void this.connect();
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.retryTimer);
    this.discard();
    this.listener.onConnection({ kind: "idle" });
  }

  /** Reconnects now instead of at the end of the wait. */
  retryNow(): void {
    if (!this.running || this.socket) return;
    clearTimeout(this.retryTimer);
    void this.connect();
  }

  /** Subscribes to a channel, also after each reconnection. A second call resubscribes with current extra fields. */
  subscribe(channel: string, extra: Extra = () => ({})): void {
    if (this.wanted.has(channel) && this.ready) this.send({ type: "unsubscribe", channel });
    this.wanted.set(channel, extra);
    if (this.ready) this.send({ type: "subscribe", channel, ...extra() });
  }

  unsubscribe(channel: string): void {
    if (this.wanted.delete(channel) && this.ready) this.send({ type: "unsubscribe", channel });
  }

  /** Closes the connection and makes a new one. Use it if resubscribing did not repair a stream. */
  reconnect(reason: string): void {
    if (this.running) this.lost(reason);
  }

  private async connect(): Promise<void> {
    this.listener.onConnection({ kind: "connecting" });
    try {
      this.token = await this.settings.token();
    } catch {
      if (this.running) this.lost("no access token");
      return;
    }
    if (!this.running || this.socket) return;
    const socket = (this.settings.open ?? ((url) => new WebSocket(url)))(this.settings.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.send({ type: "auth", token: this.token });
    socket.onmessage = (event) => this.receive(event.data as string | ArrayBuffer);
    socket.onclose = (event) => {
      if (event.code === CLOSED_UNAUTHENTICATED) void this.refused(closeReason(event));
      else this.lost(closeReason(event));
    };
    this.expect(READY_WITHIN_MS, () => this.lost("the server did not respond in time"));
  }

  private receive(data: string | ArrayBuffer): void {
    if (this.ready) this.watch();
    if (typeof data !== "string") {
      this.listener.onBinary(data);
      return;
    }
    let message: ServerMessage;
    try {
      message = JSON.parse(data) as ServerMessage;
    } catch {
      this.lost("the server sent an invalid message");
      return;
    }
    if (message.type === "ready") {
      // The server sends `ready` again after each renewed login.
      if (!this.ready) this.becomeLive();
    } else if (message.type === "error" && !this.ready) void this.refused(message.message);
    else this.listener.onMessage(message);
  }

  private becomeLive(): void {
    this.ready = true;
    this.watch();
    this.goodTimer = setTimeout(() => {
      this.attempt = 0;
    }, GOOD_AFTER_MS);
    this.loginTimer = setInterval(() => void this.renewLogin(), RENEW_LOGIN_EVERY_MS);
    for (const [channel, extra] of this.wanted) this.send({ type: "subscribe", channel, ...extra() });
    this.listener.onConnection({ kind: "live" });
  }

  private async renewLogin(): Promise<void> {
    const socket = this.socket;
    let token: string;
    try {
      token = await this.settings.token();
    } catch {
      // The server cannot be reached. The current token is still valid; the next turn tries again.
      return;
    }
    if (token === this.token || this.socket !== socket) return;
    this.token = token;
    this.send({ type: "auth", token });
  }

  private async refused(message: string): Promise<void> {
    this.lost(message);
    try {
      await this.settings.onRefused();
    } catch (error) {
      console.warn("Could not renew the login; the next connection tries again.", error);
    }
  }

  /** Pings a silent server once, then disconnects. Any message is a sign of life, an error too. */
  private watch(): void {
    this.expect(SILENCE_MS, () => {
      this.send({ type: "ping" });
      this.expect(SILENCE_MS, () => this.lost("the server stopped responding"));
    });
  }

  private expect(withinMs: number, otherwise: () => void): void {
    clearTimeout(this.watchTimer);
    this.watchTimer = setTimeout(otherwise, withinMs);
  }

  private lost(reason: string): void {
    this.discard();
    if (!this.running) return;
    const longest = Math.min(FIRST_WAIT_MS * 2 ** this.attempt++, LONGEST_WAIT_MS);
    const waitMs = longest * (0.5 + 0.5 * (this.settings.random ?? Math.random)());
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => void this.connect(), waitMs);
    this.listener.onConnection({ kind: "waiting", retryAt: Date.now() + waitMs, reason });
  }

  private discard(): void {
    clearTimeout(this.watchTimer);
    clearTimeout(this.goodTimer);
    clearInterval(this.loginTimer);
    this.ready = false;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private send(message: Record<string, unknown>): void {
    this.socket?.send(JSON.stringify(message));
  }
}

function closeReason(event: CloseEvent): string {
  if (event.code === CLOSED_TOO_SLOW) return "this page was too slow to receive all messages";
  return event.reason || "the connection was closed";
}
