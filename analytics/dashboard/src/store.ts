/**
 * The page's state as signals. Only this module changes it.
 *
 * There is one store for each login. The socket and the polls run from `start` to `stop`.
 */

import { type Signal, signal } from "@preact/signals";
import { type Api, errorText } from "./api";
import type {
  Camera,
  CameraObservation,
  CrossingMessage,
  Direction,
  ServerMessage,
  Site,
  Totals,
  VerifiedCamera,
} from "./contract";
import { noteShown } from "./latency";
import { type Poll, poll } from "./poll";
import { type Preview, parsePreview } from "./preview";
import { type Connection, LiveSocket } from "./socket";
import { CountsStream, type StreamHealth } from "./stream";

const CAMERAS_EVERY_MS = 5_000;
/** The demo's cameras appear one by one, and the user is waiting for the first. */
const NO_CAMERAS_EVERY_MS = 2_000;
const COVERAGE_EVERY_MS = 10_000;
const VERIFY_EVERY_MS = 2_000;
const VERIFY_WITHOUT_TRUTH_EVERY_MS = 15_000;
const VERIFY_SPAN_MS = 3_600_000;

/** A line's totals of today, and the last crossing that changed them, for the pulse. */
export interface LineCount extends Totals {
  last: { direction: Direction; crossingId: string } | null;
}

/** Coverage of a camera today: the share (0..1), and the elapsed seconds of today. */
export interface TodayCoverage {
  share: number;
  elapsedS: number;
}

/** Error texts of failing polls, by poll. */
export type Troubles = Readonly<Partial<Record<"cameras" | "coverage" | "verify", string>>>;

declare global {
  interface Window {
    countlineStream: StreamHealth;
  }
}

export class Store {
  readonly connection = signal<Connection>({ kind: "idle" });
  readonly cameras = signal<readonly Camera[] | null>(null);
  readonly sites = signal<readonly Site[]>([]);
  readonly sum = signal<Totals | null>(null);
  readonly coverage = signal<ReadonlyMap<string, TodayCoverage> | null>(null);
  readonly verified = signal<ReadonlyMap<string, VerifiedCamera> | null>(null);
  readonly troubles = signal<Troubles>({});
  /** Time of the server's last message before the connection was lost. The counters are complete up to this time. */
  readonly countsAsOf = signal<Date | null>(null);
  readonly now: Signal<Date>;
  /** Text for screen readers. */
  readonly announcement = signal("");

  private readonly statuses = new Map<string, Signal<CameraObservation>>();
  private readonly lineCounts = new Map<string, Signal<LineCount>>();
  private readonly pictures = new Map<string, (preview: Preview) => void>();
  private readonly crossingListeners = new Set<(crossing: CrossingMessage) => void>();
  private readonly socket: LiveSocket;
  private readonly counts: CountsStream;
  private heardAt: Date | null = null;
  private polls: Poll[] = [];
  private camerasPoll: Poll | null = null;
  private ticking: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly api: Api,
    socketUrl: string,
  ) {
    this.now = signal(api.now());
    this.socket = new LiveSocket(
      { url: socketUrl, token: () => api.accessToken(), onRefused: () => api.renew() },
      {
        onConnection: (connection) => this.onConnection(connection),
        onMessage: (message) => this.onMessage(message),
        onBinary: (message) => this.onBinary(message),
      },
    );
    this.counts = new CountsStream(this.socket, {
      onSnapshot: () => this.onSnapshot(),
      onCrossing: (crossing) => this.onCrossing(crossing),
    });
    window.countlineStream = this.counts.health;
  }

  start(): void {
    this.socket.subscribe("status");
    this.counts.start();
    this.socket.start();
    this.camerasPoll = this.poll(CAMERAS_EVERY_MS, "cameras", () => this.loadCameras());
    this.polls = [
      this.camerasPoll,
      this.poll(COVERAGE_EVERY_MS, "coverage", () => this.loadCoverage()),
      this.poll(VERIFY_EVERY_MS, "verify", () => this.loadVerified()),
    ];
    this.ticking = setInterval(() => {
      this.now.value = this.api.now();
    }, 1000);
    window.addEventListener("online", this.reconnectIfVisible);
    document.addEventListener("visibilitychange", this.reconnectIfVisible);
  }

  stop(): void {
    window.removeEventListener("online", this.reconnectIfVisible);
    document.removeEventListener("visibilitychange", this.reconnectIfVisible);
    clearInterval(this.ticking);
    for (const one of this.polls) one.stop();
    this.counts.stop();
    this.socket.stop();
  }

  status(camera: Camera): Signal<CameraObservation> {
    return getOrCreate(this.statuses, camera.camera_id, () => camera.observed ?? {});
  }

  line(cameraId: string, lineId: string): Signal<LineCount> {
    return getOrCreate(this.lineCounts, `${cameraId}/${lineId}`, () => ({
      ...this.counts.ledger.total(cameraId, lineId),
      last: null,
    }));
  }

  /** Lines with crossings today that are no longer in the camera's spec. Their crossings stay in the totals. */
  removedLines(camera: Camera): string[] {
    const present = new Set((camera.spec?.lines ?? []).map((line) => line.line_id));
    return this.counts.ledger.lines(camera.camera_id).filter((line) => !present.has(line));
  }

  timeZone(camera: Camera | undefined): string {
    const site = this.sites.value.find((one) => one.site_id === camera?.site_id) ?? this.sites.value[0];
    return site?.time_zone ?? "UTC";
  }

  /** Passes previews of one camera to `show` until the returned function is called. Each camera has one watcher. */
  watch(cameraId: string, show: (preview: Preview) => void): () => void {
    const channel = `preview:${cameraId}`;
    this.pictures.set(cameraId, show);
    this.socket.subscribe(channel);
    return () => {
      if (this.pictures.get(cameraId) !== show) return;
      this.pictures.delete(cameraId);
      this.socket.unsubscribe(channel);
    };
  }

  /** Passes each counted crossing to `listener` until the returned function is called. */
  listen(listener: (crossing: CrossingMessage) => void): () => void {
    this.crossingListeners.add(listener);
    return () => this.crossingListeners.delete(listener);
  }

  private readonly reconnectIfVisible = () => {
    if (!document.hidden) this.socket.retryNow();
  };

  private onConnection(connection: Connection): void {
    const before = this.connection.value.kind;
    this.connection.value = connection;
    if (before === "live" && connection.kind === "waiting") {
      this.countsAsOf.value = this.heardAt;
      this.announcement.value = `Connection lost: ${connection.reason}. Counters do not update.`;
    } else if (connection.kind === "live" && this.sum.value !== null) {
      this.announcement.value = "Reconnected.";
    }
  }

  private onMessage(message: ServerMessage): void {
    this.heardAt = this.api.now();
    if (this.counts.take(message)) return;
    if (message.type === "status") this.onStatus(message.camera_id, message.observed);
    else if (message.type === "error")
      console.warn(`The server refused a message: ${message.code}: ${message.message} ${message.hint ?? ""}`.trimEnd());
  }

  private onBinary(message: ArrayBuffer): void {
    this.heardAt = this.api.now();
    try {
      const preview = parsePreview(message);
      this.pictures.get(preview.header.camera_id)?.(preview);
    } catch (error) {
      console.warn("Skipped an unreadable preview.", error);
    }
  }

  private onStatus(cameraId: string, status: CameraObservation): void {
    const known = this.statuses.get(cameraId);
    if (!known) {
      this.camerasPoll?.now();
      return;
    }
    const before = known.value.state;
    known.value = status;
    if (before && status.state && status.state !== before) {
      this.announcement.value = `Camera ${cameraId}: ${status.state}. ${status.error?.message ?? ""}`;
    }
  }

  private onSnapshot(): void {
    for (const [name, line] of this.lineCounts) {
      const [camera = "", id = ""] = name.split("/");
      line.value = { ...this.counts.ledger.total(camera, id), last: null };
    }
    this.sum.value = this.counts.ledger.sum();
  }

  private onCrossing(crossing: CrossingMessage): void {
    const totals = this.counts.ledger.total(crossing.camera_id, crossing.line_id);
    const last = { direction: crossing.direction, crossingId: crossing.crossing_id };
    this.line(crossing.camera_id, crossing.line_id).value = { ...totals, last };
    this.sum.value = this.counts.ledger.sum();
    noteShown(crossing);
    for (const listener of this.crossingListeners) listener(crossing);
    if (!this.statuses.has(crossing.camera_id)) this.camerasPoll?.now();
  }

  private async loadCameras(): Promise<number | undefined> {
    const [sites, all] = await Promise.all([this.api.sites(), this.api.cameras()]);
    const cameras = all.filter((camera) => camera.status !== "retired");
    this.sites.value = sites;
    for (const camera of cameras) {
      const known = this.status(camera);
      // The socket may have delivered a newer status while this request was in flight.
      if (camera.observed && reportedAt(camera.observed) >= reportedAt(known.value)) known.value = camera.observed;
    }
    this.cameras.value = cameras;
    return cameras.length === 0 ? NO_CAMERAS_EVERY_MS : undefined;
  }

  private async loadCoverage(): Promise<undefined> {
    const now = this.api.now();
    // The server returns whole buckets, so the bucket of this moment is today in the site's time zone.
    const counts = await this.api.counts({ start: new Date(now.getTime() - 1000), bucket: "1d" });
    const coverage = new Map<string, TodayCoverage>();
    for (const bucket of counts.buckets) {
      const start = Date.parse(bucket.start);
      if (start > now.getTime() || Date.parse(bucket.end) <= now.getTime()) continue;
      coverage.set(bucket.camera_id, { share: bucket.coverage, elapsedS: (now.getTime() - start) / 1000 });
    }
    this.coverage.value = coverage;
    return undefined;
  }

  private async loadVerified(): Promise<number | undefined> {
    const cameras = await this.api.verify(new Date(this.api.now().getTime() - VERIFY_SPAN_MS));
    this.verified.value = new Map(cameras.map((camera) => [camera.camera_id, camera]));
    return cameras.length === 0 ? VERIFY_WITHOUT_TRUTH_EVERY_MS : undefined;
  }

  /** Starts a poll. The page shows its failure until it succeeds again. */
  private poll(everyMs: number, what: keyof Troubles, ask: () => Promise<number | undefined>): Poll {
    const request = async () => {
      const next = await ask();
      const { [what]: _, ...others } = this.troubles.value;
      if (what in this.troubles.value) this.troubles.value = others;
      return next;
    };
    return poll(everyMs, request, (error) => {
      this.troubles.value = { ...this.troubles.value, [what]: errorText(error) };
    });
  }
}

function reportedAt(status: CameraObservation): number {
  return status.reported_at ? Date.parse(status.reported_at) : 0;
}

function getOrCreate<T>(all: Map<string, Signal<T>>, key: string, first: () => T): Signal<T> {
  let one = all.get(key);
  if (!one) {
    one = signal(first());
    all.set(key, one);
  }
  return one;
}
