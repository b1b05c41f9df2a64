/** Keeps the ledger true over the socket: resumes where rows are missing, starts anew where totals do not follow. */

import type { CrossingMessage, ServerMessage, SnapshotMessage } from "./contract";
import { Ledger } from "./ledger";

const RESUMED_WITHIN_MS = 5_000;

/** What the stream had to put right since the page was opened. */
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

  /** Subscribes; from then on every reconnection goes on after the last row that is in the totals. */
  start(): void {
    this.ask();
  }

  stop(): void {
    this.settled();
  }

  /** True where the message was one of ours. */
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

  /** Asks once; the rows that were under way in the meantime are gaps too and need no asking of their own. */
  private resume(why: "gaps" | "contradictions"): void {
    if (this.resuming !== undefined) return;
    this.health[why]++;
    this.resuming = setTimeout(() => {
      this.resuming = undefined;
      this.channels.reconnect("rows were missing and did not come");
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
