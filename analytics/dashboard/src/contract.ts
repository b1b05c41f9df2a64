/**
 * The gateway's messages as types, following `proto/countline/v1` and the WebSocket protocol: names in snake_case,
 * enums as lower-case words, times as RFC 3339 text in REST. Written by hand, with only the fields that this page reads.
 */

export type Direction = "in" | "out";

export interface Point {
  x: number;
  y: number;
}

/** A count line in normalised coordinates. *in* = to the right of a viewer who looks along it on the screen. */
export interface Line {
  line_id: string;
  points: Point[];
  version: number;
  classes: string[];
}

export interface Zone {
  zone_id: string;
  polygon: Point[];
  version: number;
  classes: string[];
}

export interface Site {
  site_id: string;
  title: string;
  /** IANA name. Days of counts begin at midnight in this zone. */
  time_zone: string;
}

/** What is wanted of a camera. */
export type CameraStatus = "active" | "inactive" | "paused" | "retired";

/** What is seen of an active camera. */
export type ObservedState =
  "waiting" | "probing" | "starting" | "running" | "degraded" | "offline" | "failed" | "finished";

export interface CameraError {
  code: string;
  message: string;
  hint: string;
}

export interface CameraObservation {
  state?: ObservedState;
  worker_id?: string;
  width?: number;
  height?: number;
  source_fps?: number;
  processed_fps?: number;
  /** From capture to finished count, 95th percentile, seconds. */
  latency_s?: number;
  frames_dropped?: number;
  error?: CameraError | null;
  /** What a person should know about a source that is read all the same. */
  warnings?: CameraError[];
  reported_at?: string | null;
}

export interface Camera {
  camera_id: string;
  site_id: string;
  name: string;
  status: CameraStatus;
  spec?: { lines?: Line[]; zones?: Zone[] };
  /** Unset unless the camera is active. */
  observed?: CameraObservation | null;
  revision: number;
}

export interface Tokens {
  access_token: string;
  access_expires_at: string;
  refresh_expires_at: string;
}

export interface User {
  user_id: string;
  username: string;
  roles: string[];
  /** After a login with a one-time password: the user has to choose another one first. */
  must_change_password?: boolean;
  /** A role of the user requires a second factor, and the user has none: it has to be set up first. */
  must_set_up_second_factor?: boolean;
}

/** What a right password gives to a user with a second factor. */
export interface LoginChallenge {
  challenge: string;
  expires_at: string;
}

/** The state of the user's second factor. */
export interface Factor {
  enabled: boolean;
  /** A role of the user requires a second factor. */
  required: boolean;
  recovery_codes_left: number;
}

/** A secret for an authenticator app that waits to be confirmed. */
export interface BegunFactor {
  secret: string;
  otpauth_uri: string;
  /** One text a row, without border; `1` is dark. */
  qr_rows: string[];
}

/** How a person can log in. */
export interface LoginMethods {
  /** Name of the identity provider; missing if there is none. */
  oidc_name?: string;
  passwords?: "everyone" | "super-admins" | "nobody";
}

export type Bucket = "1m" | "15m" | "1h" | "1d";

export interface CountBucket {
  start: string;
  end: string;
  camera_id: string;
  line_id: string;
  in: number;
  out: number;
  /** Share of the bucket's time up to now in which the camera was processed, 0..1. */
  coverage: number;
  state: "provisional" | "final" | "corrected";
  /** Time zone of the site at the start of the bucket. */
  time_zone?: string;
}

export interface Counts {
  buckets: CountBucket[];
  time_zone: string;
}

export interface VerifiedDirection {
  counted: number;
  true: number;
  missed: number;
  false: number;
}

export interface VerifiedLine {
  line_id: string;
  in: VerifiedDirection;
  out: VerifiedDirection;
}

export interface VerifiedCamera {
  camera_id: string;
  lines: VerifiedLine[];
  /** Seconds that were covered and compared with the truth. */
  verified_s: number;
}

export interface Totals {
  in: number;
  out: number;
}

/** Totals of today after row `sequence`, as `cameras[camera][line]`. */
export interface SnapshotMessage {
  type: "snapshot";
  channel: "counts";
  sequence: number;
  day: Record<string, string>;
  cameras: Record<string, Record<string, Totals>>;
}

/** One new row. `in` and `out` are the line's totals of today including it. Times are Unix seconds or RFC 3339. */
export interface CrossingMessage {
  type: "crossing";
  channel: "counts";
  sequence: number;
  crossing_id: string;
  camera_id: string;
  line_id: string;
  direction: Direction;
  class: string;
  t: number | string;
  decided_at: number | string;
  in: number;
  out: number;
  /** Number of the message before this one; present only if the login may not see every camera. */
  previous?: number | null;
}

export interface StatusMessage {
  type: "status";
  camera_id: string;
  observed: CameraObservation;
}

export interface ErrorMessage {
  type: "error";
  code: string;
  message: string;
  hint?: string;
}

export type ServerMessage =
  { type: "ready" } | { type: "pong" } | SnapshotMessage | CrossingMessage | StatusMessage | ErrorMessage;

export interface Box {
  track: number;
  /** x1, y1, x2, y2 in pixels of the source picture. */
  box: [number, number, number, number];
  score: number;
  class: string;
}

/** The header of a preview. The JPEG follows in the same binary message. */
export interface PreviewHeader {
  type: "preview";
  camera_id: string;
  t: number | string;
  /** Width and height of the JPEG. */
  size: [number, number];
  /** Width and height of the source picture. Boxes are in its pixels. */
  source_size: [number, number];
  boxes: Box[];
}
