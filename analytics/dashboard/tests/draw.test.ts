import { describe, expect, test } from "vitest";
import { arrowStation, drawScene, fitInto, station } from "../src/draw";
import { parsePreview } from "../src/preview";

describe("the in side of a line", () => {
  test.each([
    ["rightwards: in is down", [0.1, 0.5, 0.9, 0.5], { x: 0, y: 1 }],
    ["leftwards: in is up", [0.9, 0.5, 0.1, 0.5], { x: 0, y: -1 }],
    ["upwards: in is right", [0.5, 0.9, 0.5, 0.1], { x: 1, y: 0 }],
    ["downwards: in is left", [0.5, 0.1, 0.5, 0.9], { x: -1, y: 0 }],
  ])("is the right-hand side of a viewer who looks along it; %s", (_, [ax, ay, bx, by], inward) => {
    const points = [
      { x: ax as number, y: ay as number },
      { x: bx as number, y: by as number },
    ];
    const found = station(points, 0.5);
    expect(found.at).toEqual({ x: 0.5, y: 0.5 });
    expect(found.inward.x).toBeCloseTo(inward.x);
    expect(found.inward.y).toBeCloseTo(inward.y);
  });

  test("is found at the middle of a line of several points", () => {
    const points = [
      { x: 0, y: 0 },
      { x: 10, y: 0 },
      { x: 10, y: 30 },
    ];
    expect(station(points, 0.5)).toEqual({ at: { x: 10, y: 10 }, inward: { x: -1, y: 0 } });
  });

  test("moves along the line if another line runs through the arrows", () => {
    const line = [
      { x: 0, y: 50 },
      { x: 400, y: 50 },
    ];
    const through = [
      { x: 210, y: 0 },
      { x: 210, y: 100 },
    ];
    expect(arrowStation(line, [], 40).at.x).toBe(200);
    expect(arrowStation(line, [through], 40).at.x).toBe(140);
  });
});

test("a line with a repeated corner has arrows", () => {
  const corner = { x: 5, y: 5 };
  const points = [corner, corner, { x: 5, y: 5 }];
  expect(arrowStation(points, [points], 40)).toEqual({ at: corner, inward: { x: -0, y: 0 } });
});

test("a canvas that is not laid out yet is only cleared", () => {
  const line = { line_id: "gate", version: 1, classes: [], points: [{ x: 0, y: 0.5 }, { x: 1, y: 0.5 }] }; // prettier-ignore
  const scene = { picture: null, sourceSize: [640, 360] as const, boxes: [], lines: [line], zones: [], flashes: [] };
  const cleared: number[][] = [];
  const ctx = { clearRect: (...area: number[]) => cleared.push(area) } as unknown as CanvasRenderingContext2D;
  drawScene(ctx, 0, 0, scene, 0);
  expect(cleared).toEqual([[0, 0, 0, 0]]);
});

test("a picture is scaled to fit and centred", () => {
  expect(fitInto(320, 180, [640, 360])).toEqual({ x: 0, y: 0, width: 320, height: 180 });
  expect(fitInto(320, 180, [400, 400])).toEqual({ x: 70, y: 0, width: 180, height: 180 });
});

describe("preview messages", () => {
  const header = { type: "preview", camera_id: "gate", t: 1.5, size: [2, 1], source_size: [4, 2], boxes: [] };

  test("are a length, a header and a JPEG", async () => {
    const json = new TextEncoder().encode(JSON.stringify(header));
    const message = new Uint8Array(4 + json.length + 3);
    new DataView(message.buffer).setUint32(0, json.length);
    message.set(json, 4);
    message.set([0xff, 0xd8, 0xff], 4 + json.length);
    const preview = parsePreview(message.buffer);
    expect(preview.header).toEqual(header);
    expect([...new Uint8Array(await preview.jpeg.arrayBuffer())]).toEqual([0xff, 0xd8, 0xff]);
  });

  test("are refused if truncated", () => {
    expect(() => parsePreview(new Uint8Array([0, 0, 1, 0, 123]).buffer)).toThrow();
  });
});
