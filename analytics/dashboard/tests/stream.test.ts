import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CountsStream } from "../src/stream";
import { row, snapshot } from "./messages";

function harness() {
  const asked: Record<string, unknown>[] = [];
  const reconnect = vi.fn();
  const onCrossing = vi.fn();
  const onSnapshot = vi.fn();
  const stream = new CountsStream(
    { subscribe: (_, extra) => asked.push(extra()), reconnect },
    { onCrossing, onSnapshot },
  );
  stream.start();
  return { stream, asked, reconnect, onCrossing, onSnapshot };
}

describe("the stream of counts", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("requests a snapshot first", () => {
    expect(harness().asked).toEqual([{}]);
  });

  test("resumes once after the last row in the totals when a row is missing", () => {
    const { stream, asked, onCrossing } = harness();
    stream.take(snapshot(10, 4, 2));
    stream.take(row(12, 6, 2));
    stream.take(row(13, 7, 2));
    expect(asked).toEqual([{}, { after: 10 }]);
    for (const sequence of [11, 12, 13]) stream.take(row(sequence, sequence - 6, 2));
    expect(onCrossing).toHaveBeenCalledTimes(3);
    expect(stream.ledger.total("gate", "door")).toEqual({ in: 7, out: 2 });
    expect(stream.health).toEqual({ snapshots: 1, gaps: 1, contradictions: 0 });
  });

  test("requests a new snapshot when totals contradict the ledger", () => {
    const { stream, asked, onSnapshot, onCrossing } = harness();
    stream.take(snapshot(10, 4, 2));
    stream.take(row(11, 9, 2));
    expect(asked).toEqual([{}, {}]);
    expect(onCrossing).not.toHaveBeenCalled();
    stream.take(snapshot(11, 9, 2));
    expect(onSnapshot).toHaveBeenCalledTimes(2);
    expect(stream.ledger.total("gate", "door")).toEqual({ in: 9, out: 2 });
  });

  test("reconnects when the missing rows do not arrive", () => {
    const { stream, reconnect } = harness();
    stream.take(snapshot(10));
    stream.take(row(12, 2, 0));
    vi.advanceTimersByTime(4_900);
    expect(reconnect).not.toHaveBeenCalled();
    vi.advanceTimersByTime(200);
    expect(reconnect).toHaveBeenCalledOnce();
  });

  test("does not handle other messages", () => {
    expect(harness().stream.take({ type: "pong" })).toBe(false);
  });
});
