import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Connection, LiveSocket } from "../src/socket";

class Wire {
  binaryType = "";
  sent: Record<string, unknown>[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  says(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  breaks(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

async function harness(token: () => Promise<string> = async () => "t1") {
  const wires: Wire[] = [];
  const states: Connection[] = [];
  const messages: unknown[] = [];
  const onRefused = vi.fn(async () => {});
  const open = () => {
    wires.push(new Wire());
    return wires.at(-1) as unknown as WebSocket;
  };
  const socket = new LiveSocket(
    { url: "ws://gateway/ws", token, onRefused, open, random: () => 1 },
    { onConnection: (state) => states.push(state), onMessage: (message) => messages.push(message), onBinary: () => {} },
  );
  socket.start();
  await vi.advanceTimersByTimeAsync(0);
  const wire = () => wires.at(-1) as Wire;
  const becomeLive = () => {
    wire().onopen?.();
    wire().says({ type: "ready" });
  };
  return { socket, wires, wire, states, messages, onRefused, becomeLive };
}

describe("the socket", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("logs in first and subscribes when the server is ready", async () => {
    const { socket, wire, states } = await harness();
    socket.subscribe("status");
    wire().onopen?.();
    expect(wire().sent).toEqual([{ type: "auth", token: "t1" }]);
    wire().says({ type: "ready" });
    expect(wire().sent[1]).toEqual({ type: "subscribe", channel: "status" });
    expect(states.map((state) => state.kind)).toEqual(["connecting", "live"]);
  });

  test("reconnects with growing waits, up to fifteen seconds", async () => {
    const { wires, wire } = await harness();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      const before = wires.length;
      const since = Date.now();
      wire().breaks();
      while (wires.length === before) await vi.advanceTimersByTimeAsync(100);
      waits.push(Date.now() - since);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  });

  test("subscribes again after a reconnection, with the current extra fields", async () => {
    const { socket, wire, becomeLive } = await harness();
    let after = 7;
    socket.subscribe("counts", () => ({ after }));
    becomeLive();
    wire().breaks();
    after = 9;
    await vi.advanceTimersByTimeAsync(600);
    becomeLive();
    expect(wire().sent.at(-1)).toEqual({ type: "subscribe", channel: "counts", after: 9 });
  });

  test("does not subscribe again to a channel that was unsubscribed", async () => {
    const { socket, wire, becomeLive } = await harness();
    socket.subscribe("preview:gate");
    becomeLive();
    socket.unsubscribe("preview:gate");
    expect(wire().sent.at(-1)).toEqual({ type: "unsubscribe", channel: "preview:gate" });
    wire().breaks();
    await vi.advanceTimersByTimeAsync(600);
    becomeLive();
    expect(wire().sent.map((message) => message.type)).toEqual(["auth"]);
  });

  test("disconnects from a server that does not respond to a ping", async () => {
    const { wire, states, becomeLive } = await harness();
    becomeLive();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(wire().sent.at(-1)).toEqual({ type: "ping" });
    wire().says({ type: "pong" });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(states.at(-1)?.kind).toBe("live");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(states.at(-1)).toMatchObject({ kind: "waiting", reason: "the server stopped responding" });
    expect(wire().closed).toBe(true);
  });

  test("renews its login when the server refuses the token", async () => {
    const { wire, onRefused, states } = await harness();
    wire().onopen?.();
    wire().says({ type: "error", code: "unauthenticated", message: "The token is not valid." });
    expect(onRefused).toHaveBeenCalledOnce();
    expect(states.at(-1)).toMatchObject({ kind: "waiting", reason: "The token is not valid." });
  });

  test("sends a renewed token in time, and does not become live twice", async () => {
    let token = "t1";
    const { socket, wire, states, becomeLive } = await harness(async () => token);
    socket.subscribe("status");
    becomeLive();
    token = "t2";
    for (let i = 0; i < 3; i++) {
      await vi.advanceTimersByTimeAsync(9_000);
      wire().says({ type: "pong" });
    }
    wire().says({ type: "ready" });
    expect(wire().sent).toEqual([
      { type: "auth", token: "t1" },
      { type: "subscribe", channel: "status" },
      { type: "auth", token: "t2" },
    ]);
    expect(states.filter((state) => state.kind === "live")).toHaveLength(1);
  });

  test("renews its login when the server closes because the token has expired", async () => {
    const { wire, onRefused, becomeLive } = await harness();
    becomeLive();
    wire().breaks(4401, "the access token has expired");
    expect(onRefused).toHaveBeenCalledOnce();
  });

  test("retries at once on request, and never makes two connections at a time", async () => {
    const { socket, wires, wire } = await harness();
    wire().breaks();
    socket.retryNow();
    await vi.advanceTimersByTimeAsync(0);
    expect(wires).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(wires).toHaveLength(2);
  });

  test("does nothing after stop", async () => {
    const { socket, wires, wire, becomeLive } = await harness();
    becomeLive();
    socket.stop();
    expect(wire().closed).toBe(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(wires).toHaveLength(1);
  });

  test("closes a connection that sends an invalid message", async () => {
    const { wire, states, becomeLive } = await harness();
    becomeLive();
    wire().onmessage?.({ data: "<html>" });
    expect(states.at(-1)?.kind).toBe("waiting");
  });
});
