/**
 * The WebSocket: logs in, subscribes, and comes back by itself. What the messages mean is its owner's business.
 *
 * Policy: back-off from 0.5 s, doubled up to 15 s, with jitter, so that many pages do not return in step; a socket that
 * is silent for 20 s although it was asked for a sign of life counts as dead; the next try comes at once when the
 * browser says that the network is back.
 */

import type { ServerMessage } from "./contract";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const READY_WITHIN_MS = 10_000;
const SILENCE_MS = 10_000;
/** A connection that held this long was a good one: the next break starts again with the shortest wait. */
const GOOD_AFTER_MS = 5_000;
/** The server closes a socket whose token has run out; a renewed one is sent in time. */
const RENEW_LOGIN_EVERY_MS = 20_000;
const CLOSED_TOO_SLOW = 4408;
const CLOSED_UNAUTHENTICATED = 4401;

export type Connection =
  | { kind: "idle" }
  | { kind: "connecting" }
  | { kind: "live" }
  /** Cut off; the next try is at `retryAt` (Unix milliseconds). */
  | { kind: "waiting"; retryAt: number; reason: string };

export interface Listener {
  onConnection(connection: Connection): void;
  onMessage(message: ServerMessage): void;
  onBinary(message: ArrayBuffer): void;
}

export interface SocketSettings {
  url: string;
  /** An access token that is good now. Rejects where there is none to be had. */
  token: () => Promise<string>;
  /** Told that the server refused the token; the next try asks for another. */
  onRefused: () => Promise<void>;
  open?: (url: string) => WebSocket;
  random?: () => number;
}

/** Fields that go with a subscription, asked for at each (re)subscription. */
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

  /** Goes at it now instead of at the end of the wait. */
  hurry(): void {
    if (!this.running || this.socket) return;
    clearTimeout(this.retryTimer);
    void this.connect();
  }

  /** Wants a channel from now on, over every reconnection. Wanting it again renews it with the extra fields of now. */
  subscribe(channel: string, extra: Extra = () => ({})): void {
    if (this.wanted.has(channel) && this.ready) this.send({ type: "unsubscribe", channel });
    this.wanted.set(channel, extra);
    if (this.ready) this.send({ type: "subscribe", channel, ...extra() });
  }

  unsubscribe(channel: string): void {
    if (this.wanted.delete(channel) && this.ready) this.send({ type: "unsubscribe", channel });
  }

  /** Drops the connection and makes a new one: for a stream that does not come right by asking again. */
  reconnect(reason: string): void {
    if (this.running) this.lost(reason);
  }

  private async connect(): Promise<void> {
    this.listener.onConnection({ kind: "connecting" });
    try {
      this.token = await this.settings.token();
    } catch {
      if (this.running) this.lost("no valid login could be had");
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
    this.expect(READY_WITHIN_MS, () => this.lost("the server did not answer in time"));
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
      this.lost("the server sent something that is no message");
      return;
    }
    if (message.type === "ready") {
      // A renewed login is answered with another one.
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
      // The server cannot be asked just now; the next turn does, and the token in use lasts for a while.
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
      console.warn("The login could not be renewed; it is tried again with the next connection.", error);
    }
  }

  /** Silence is asked once for a sign of life (any answer is one, an error too) and then believed. */
  private watch(): void {
    this.expect(SILENCE_MS, () => {
      this.send({ type: "ping" });
      this.expect(SILENCE_MS, () => this.lost("the server fell silent"));
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
  if (event.code === CLOSED_TOO_SLOW) return "this page was too slow to take everything in";
  return event.reason || "the connection to the server broke";
}
