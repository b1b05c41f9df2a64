/**
 * Draws the live picture and its overlay to a canvas: zones, boxes, and count lines with their directions.
 * Lengths are CSS pixels. The caller scales the context to device pixels, so that everything is sharp.
 */

import type { Box, Direction, Line, Point, Zone } from "./contract";

/** Readable on bright and dark pictures, so the same in both colour schemes; distinguishable without red and green. */
const COLOURS = {
  in: "#4cc9ff",
  out: "#ffb03a",
  line: "#ffffff",
  zone: "#c9b6ff",
  halo: "rgba(8, 12, 18, 0.78)",
  ink: "#ffffff",
} as const;
const CLASS_COLOURS = ["#8df0a9", "#ff9ecb", "#ffe27a", "#9fd0ff", "#ffb59e", "#c7f06c", "#e0b3ff", "#7fe7dc"];
/** Narrower pictures get shorter arrows and no zone names. */
const SMALL_PX = 480;
/** Other lines at least this far from a line's arrows do not disturb them. */
const ARROW_ROOM_PX = 40;
/** How long a line stays highlighted after a crossing. */
export const FLASH_MS = 900;

/** The picture's rectangle in the canvas, in CSS pixels: scaled to fit, centred. */
export interface Frame {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Flash {
  lineId: string;
  direction: Direction;
  /** Unix milliseconds. */
  at: number;
}

export interface Scene {
  picture: CanvasImageSource | null;
  /** Width and height of the source picture. Boxes are in its pixels. */
  sourceSize: readonly [number, number];
  boxes: readonly Box[];
  lines: readonly Line[];
  zones: readonly Zone[];
  flashes: readonly Flash[];
}

export function fitInto(width: number, height: number, [sourceWidth, sourceHeight]: readonly [number, number]): Frame {
  const scale = Math.min(width / sourceWidth, height / sourceHeight);
  const size = { width: sourceWidth * scale, height: sourceHeight * scale };
  return { x: (width - size.width) / 2, y: (height - size.height) / 2, ...size };
}

/** A point on a line, and the unit vector from that point to the *in* side. */
export interface Station {
  at: Point;
  inward: Point;
}

/**
 * Returns the station at a share (0..1) of a poly-line's length. *In* is the right-hand side of a viewer who stands at
 * the first point and looks along the line. On a screen y grows downwards, so that side is (-dy, dx).
 */
export function station(points: readonly Point[], share: number): Station {
  const lengths = points.slice(1).map((b, i) => distance(points[i] as Point, b));
  let rest = lengths.reduce((sum, length) => sum + length, 0) * share;
  let i = 0;
  while (i < lengths.length - 1 && rest > (lengths[i] as number)) rest -= lengths[i++] as number;
  const [a, b] = [points[i] as Point, points[i + 1] as Point];
  const length = lengths[i] || 1; // a repeated corner has no direction
  const direction = { x: (b.x - a.x) / length, y: (b.y - a.y) / length };
  return {
    at: { x: a.x + direction.x * rest, y: a.y + direction.y * rest },
    inward: { x: -direction.y, y: direction.x },
  };
}

/** Where to draw a line's arrows: in its middle, or elsewhere on it if another line is within `room` of the middle. */
export function arrowStation(points: readonly Point[], others: readonly (readonly Point[])[], room: number): Station {
  const stations = [0.5, 0.35, 0.65, 0.2, 0.8].map((share) => station(points, share));
  const free = stations.map(({ at }) => Math.min(room, ...others.map((other) => toPolyline(at, other))));
  return stations[free.indexOf(Math.max(...free))] as Station;
}

function toPolyline(point: Point, line: readonly Point[]): number {
  return Math.min(...line.slice(1).map((b, i) => toSegment(point, line[i] as Point, b)));
}

function toSegment(point: Point, a: Point, b: Point): number {
  const squared = (b.x - a.x) ** 2 + (b.y - a.y) ** 2 || 1;
  const share = clamp(((point.x - a.x) * (b.x - a.x) + (point.y - a.y) * (b.y - a.y)) / squared, 0, 1);
  return distance(point, { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share });
}

function distance(a: Point, b: Point): number {
  return Math.hypot(b.x - a.x, b.y - a.y);
}

export function drawScene(
  ctx: CanvasRenderingContext2D,
  width: number,
  height: number,
  scene: Scene,
  now: number,
): void {
  ctx.clearRect(0, 0, width, height);
  const frame = fitInto(width, height, scene.sourceSize);
  if (!(frame.width > 0 && frame.height > 0)) return; // not laid out yet, or hidden
  if (scene.picture) ctx.drawImage(scene.picture, frame.x, frame.y, frame.width, frame.height);
  ctx.font = `600 ${frame.width < SMALL_PX ? 10 : 11}px ui-sans-serif, system-ui, sans-serif`;
  ctx.lineJoin = ctx.lineCap = "round";
  for (const zone of scene.zones) drawZone(ctx, frame, zone);
  for (const box of scene.boxes) drawBox(ctx, frame, scene.sourceSize, box);
  const lines = scene.lines.map((line) => line.points.map((point) => onScreen(frame, point)));
  scene.lines.forEach((line, i) => {
    const flash = scene.flashes.findLast((one) => one.lineId === line.line_id && now - one.at < FLASH_MS);
    drawLine(ctx, lines[i] as Point[], flash?.direction ?? null, flash ? 1 - (now - flash.at) / FLASH_MS : 0);
  });
  // Draw names and arrows after all lines, so that no line crosses them out.
  scene.lines.forEach((line, i) => {
    drawDirections(ctx, frame, lines[i] as Point[], lines.toSpliced(i, 1));
    label(ctx, line.line_id, nameplace(ctx, line.line_id, lines[i] as Point[], frame), frame, COLOURS.ink);
  });
}

function drawZone(ctx: CanvasRenderingContext2D, frame: Frame, zone: Zone): void {
  const points = zone.polygon.map((point) => onScreen(frame, point));
  if (points.length < 3) return;
  ctx.beginPath();
  trace(ctx, points);
  ctx.closePath();
  ctx.fillStyle = "rgba(201, 182, 255, 0.1)";
  ctx.fill();
  ctx.setLineDash([5, 4]);
  ctx.lineWidth = 1.2;
  ctx.strokeStyle = COLOURS.zone;
  ctx.stroke();
  ctx.setLineDash([]);
  if (frame.width < SMALL_PX) return;
  const x = points.reduce((sum, point) => sum + point.x, 0) / points.length;
  const low = Math.max(...points.map((point) => point.y));
  label(ctx, zone.zone_id, { x, y: low - 12 }, frame, COLOURS.zone);
}

function drawBox(ctx: CanvasRenderingContext2D, frame: Frame, [w, h]: readonly [number, number], box: Box): void {
  const [x1, y1, x2, y2] = box.box;
  const a = onScreen(frame, { x: x1 / w, y: y1 / h });
  const b = onScreen(frame, { x: x2 / w, y: y2 / h });
  ctx.beginPath();
  ctx.roundRect(a.x, a.y, b.x - a.x, b.y - a.y, 3);
  stroke(ctx, classColour(box.class), 1.5);
  // Mark the anchor (bottom centre), which is tested against lines: it shows why a crossing counts when it does.
  ctx.beginPath();
  ctx.arc((a.x + b.x) / 2, b.y, 2.2, 0, Math.PI * 2);
  ctx.fillStyle = classColour(box.class);
  ctx.fill();
  const name = `${box.class} ${box.track}`;
  const short = String(box.track);
  const wide = ctx.measureText(name).width + 8 <= Math.max(b.x - a.x, 44);
  chip(ctx, wide ? name : short, { x: a.x, y: a.y }, frame, classColour(box.class));
}

function drawLine(ctx: CanvasRenderingContext2D, points: Point[], flash: Direction | null, strength: number): void {
  ctx.beginPath();
  trace(ctx, points);
  stroke(ctx, COLOURS.line, 2.5);
  if (flash) {
    ctx.globalAlpha = strength;
    ctx.beginPath();
    trace(ctx, points);
    ctx.lineWidth = 2.5 + 6 * strength;
    ctx.strokeStyle = COLOURS[flash];
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
  for (const point of [points[0] as Point, points.at(-1) as Point]) dot(ctx, point);
}

function drawDirections(ctx: CanvasRenderingContext2D, frame: Frame, points: Point[], others: Point[][]): void {
  const { at, inward } = arrowStation(points, others, ARROW_ROOM_PX);
  arrow(ctx, at, inward, "in", frame);
  arrow(ctx, at, { x: -inward.x, y: -inward.y }, "out", frame);
}

/** Draws an arrow from the line to the side that a crossing leads to, with the direction's name at its tip. */
function arrow(ctx: CanvasRenderingContext2D, from: Point, to: Point, direction: Direction, frame: Frame): void {
  const length = frame.width < SMALL_PX ? 18 : 26;
  const tip = { x: from.x + to.x * length, y: from.y + to.y * length };
  const left = { x: tip.x - to.x * 7 - to.y * 5, y: tip.y - to.y * 7 + to.x * 5 };
  const right = { x: tip.x - to.x * 7 + to.y * 5, y: tip.y - to.y * 7 - to.x * 5 };
  ctx.beginPath();
  trace(ctx, [{ x: from.x + to.x * 4, y: from.y + to.y * 4 }, tip]);
  trace(ctx, [left, tip, right]);
  stroke(ctx, COLOURS[direction], 2.2);
  label(ctx, direction, { x: tip.x + to.x * 13, y: tip.y + to.y * 11 }, frame, COLOURS[direction]);
}

/** Strokes the current path with a dark edge, visible on bright and on dark pictures. */
function stroke(ctx: CanvasRenderingContext2D, colour: string, width: number): void {
  ctx.strokeStyle = COLOURS.halo;
  ctx.lineWidth = width + 2;
  ctx.stroke();
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.stroke();
}

function dot(ctx: CanvasRenderingContext2D, at: Point): void {
  ctx.beginPath();
  ctx.arc(at.x, at.y, 3.5, 0, Math.PI * 2);
  ctx.fillStyle = COLOURS.line;
  ctx.fill();
  ctx.lineWidth = 1;
  ctx.strokeStyle = COLOURS.halo;
  ctx.stroke();
}

/** Draws text on a dark plate, centred on a point and kept inside the picture. */
function label(ctx: CanvasRenderingContext2D, text: string, at: Point, frame: Frame, colour: string): void {
  const width = ctx.measureText(text).width + 10;
  const x = clamp(at.x - width / 2, frame.x + 2, frame.x + frame.width - width - 2);
  const y = clamp(at.y - 8, frame.y + 2, frame.y + frame.height - 18);
  plate(ctx, x, y, width, 16, COLOURS.halo);
  words(ctx, text, x + 5, y + 8.5, colour);
}

/** Draws a filled tag above a box's top left corner, or below the corner if there is no room above. */
function chip(ctx: CanvasRenderingContext2D, text: string, corner: Point, frame: Frame, colour: string): void {
  const width = ctx.measureText(text).width + 8;
  const x = clamp(corner.x - 1, frame.x, frame.x + frame.width - width);
  const y = corner.y - 15 < frame.y ? corner.y + 1 : corner.y - 15;
  plate(ctx, x, y, width, 14, colour);
  words(ctx, text, x + 4, y + 7.5, "#0a0f14");
}

function plate(
  ctx: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
  colour: string,
): void {
  ctx.beginPath();
  ctx.roundRect(x, y, width, height, 4);
  ctx.fillStyle = colour;
  ctx.fill();
}

function words(ctx: CanvasRenderingContext2D, text: string, x: number, y: number, colour: string): void {
  ctx.textBaseline = "middle";
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}

function trace(ctx: CanvasRenderingContext2D, points: readonly Point[]): void {
  points.forEach((point, i) => {
    if (i === 0) ctx.moveTo(point.x, point.y);
    else ctx.lineTo(point.x, point.y);
  });
}

function onScreen(frame: Frame, point: Point): Point {
  return { x: frame.x + point.x * frame.width, y: frame.y + point.y * frame.height };
}

/** Where to draw a line's name: beyond one of its ends, or beside its first point if neither end has room. */
function nameplace(ctx: CanvasRenderingContext2D, name: string, points: readonly Point[], frame: Frame): Point {
  const half = ctx.measureText(name).width / 2 + 7;
  const beyond = (end: Point, before: Point): Point => {
    const length = Math.hypot(end.x - before.x, end.y - before.y) || 1;
    const along = { x: (end.x - before.x) / length, y: (end.y - before.y) / length };
    // Half the plate's extent in this direction plus a margin, so that the plate does not touch the end.
    const reach = Math.min(half / Math.max(Math.abs(along.x), 1e-6), 9 / Math.max(Math.abs(along.y), 1e-6)) + 8;
    return { x: end.x + along.x * reach, y: end.y + along.y * reach };
  };
  const [first, second] = [points[0] as Point, points[1] as Point];
  const places = [beyond(first, second), beyond(points.at(-1) as Point, points.at(-2) as Point)];
  const fits = (at: Point) =>
    at.x - half >= frame.x &&
    at.x + half <= frame.x + frame.width &&
    at.y - 9 >= frame.y &&
    at.y + 9 <= frame.y + frame.height;
  // Keep off the line itself: go below a rising line and above a falling one.
  return places.find(fits) ?? { x: first.x + half, y: first.y + (second.y < first.y ? 16 : -16) };
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high));
}

function classColour(name: string): string {
  const known = ["person", "vehicle"].indexOf(name);
  if (known >= 0) return CLASS_COLOURS[known] as string;
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return CLASS_COLOURS[hash % CLASS_COLOURS.length] as string;
}
