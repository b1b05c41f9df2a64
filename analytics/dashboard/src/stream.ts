/** Keeps the ledger correct: resumes if rows are missing, requests a snapshot if totals contradict the ledger. */

import type { CrossingMessage, ServerMessage, SnapshotMessage } from "./contract";
import { Ledger } from "./ledger";

const RESUMED_WITHIN_MS = 5_000;

/** Number of snapshots, gaps and contradictions since the store was created. */
export interface StreamHealth {
  snapshots: number;
  gaps: number;
  contradictions: number;
}

/** The part of the socket that the stream needs. */
interface Channels {
  subscribe(channel: string, extra: () => Record<string, unknown>): void;
  reconnect(reason: string): void;
}

export interface CountsListener {
  /** All totals may have changed. */
  onSnapshot(): void;
  onCrossing(crossing: CrossingMessage): void;
}

export class CountsStream {
  readonly ledger = new Ledger();
  readonly health: StreamHealth = { snapshots: 0, gaps: 0, contradictions: 0 };
  private resuming: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly channels: Channels,
    private readonly listener: CountsListener,
  ) {}

  /** Subscribes. After each reconnection the subscription resumes after the last row in the totals. */
  start(): void {
    this.ask();
  }

  stop(): void {
    this.settled();
  }

  /** Handles a message of the counts channel. Returns false for all other messages. */
  take(message: ServerMessage): boolean {
    if (message.type === "snapshot") this.takeSnapshot(message);
    else if (message.type === "crossing") this.takeCrossing(message);
    else return false;
    return true;
  }

  private takeSnapshot(message: SnapshotMessage): void {
    this.health.snapshots++;
    this.settled();
    this.ledger.snapshot(message);
    this.listener.onSnapshot();
  }

  private takeCrossing(message: CrossingMessage): void {
    const outcome = this.ledger.crossing(message);
    if (outcome === "counted") {
      this.settled();
      this.listener.onCrossing(message);
    } else if (outcome === "noted") {
      this.settled();
    } else if (outcome === "gap") {
      this.resume("gaps");
    } else if (outcome === "contradiction") {
      this.ledger.sequence = null;
      this.resume("contradictions");
    }
  }

  /** Resubscribes once per gap. Rows that were in flight meanwhile are gaps too, and need no further request. */
  private resume(why: "gaps" | "contradictions"): void {
    if (this.resuming !== undefined) return;
    this.health[why]++;
    this.resuming = setTimeout(() => {
      this.resuming = undefined;
      this.channels.reconnect("missing rows did not arrive");
    }, RESUMED_WITHIN_MS);
    this.ask();
  }

  private ask(): void {
    this.channels.subscribe("counts", () => (this.ledger.sequence === null ? {} : { after: this.ledger.sequence }));
  }

  private settled(): void {
    clearTimeout(this.resuming);
    this.resuming = undefined;
  }
}
