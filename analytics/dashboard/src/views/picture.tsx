/**
 * The live picture of one camera. The page requests it only while it is visible, decodes it off the main thread and
 * skips all but the newest.
 */

import { useEffect, useRef } from "preact/hooks";
import type { Camera } from "../contract";
import { drawScene, FLASH_MS, type Scene } from "../draw";
import type { Preview } from "../preview";
import type { Store } from "../store";

const NO_SIZE = [16, 9] as const;
/** A card must stay in or out of view this long before its subscription changes, so scrolling past changes nothing. */
const SETTLE_MS = 150;

/** Draws to a canvas, at most once per display frame. */
class Painter {
  private readonly ctx: CanvasRenderingContext2D;
  private scene: Scene;
  private bitmap: ImageBitmap | null = null;
  private next: Preview | null = null;
  private decoding = false;
  private scheduled = 0;
  private closed = false;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    camera: Camera,
    private readonly onShown: () => void,
  ) {
    this.ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
    this.scene = { picture: null, sourceSize: NO_SIZE, boxes: [], lines: [], zones: [], flashes: [] };
    this.configure(camera);
  }

  configure(camera: Camera): void {
    const { width, height } = camera.observed ?? {};
    const sourceSize = this.bitmap || !width || !height ? this.scene.sourceSize : ([width, height] as const);
    this.scene = { ...this.scene, sourceSize, lines: camera.spec?.lines ?? [], zones: camera.spec?.zones ?? [] };
    this.schedule();
  }

  flash(lineId: string, direction: "in" | "out"): void {
    const flashes = this.scene.flashes.filter((one) => Date.now() - one.at < FLASH_MS);
    this.scene = { ...this.scene, flashes: [...flashes, { lineId, direction, at: Date.now() }] };
    this.schedule();
  }

  show(preview: Preview): void {
    this.next = preview;
    if (!this.decoding) void this.decode();
  }

  /** Schedules a drawing for the next display frame. While a line is highlighted, each drawing schedules the next. */
  schedule(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = requestAnimationFrame(() => {
      this.scheduled = 0;
      this.draw();
    });
  }

  close(): void {
    this.closed = true;
    cancelAnimationFrame(this.scheduled);
    this.bitmap?.close();
  }

  private async decode(): Promise<void> {
    this.decoding = true;
    while (this.next && !this.closed) {
      const { header, jpeg } = this.next;
      this.next = null;
      try {
        const bitmap = await createImageBitmap(jpeg);
        this.bitmap?.close();
        this.bitmap = bitmap;
        if (this.closed) bitmap.close();
        this.scene = { ...this.scene, picture: bitmap, sourceSize: header.source_size, boxes: header.boxes };
        this.onShown();
        this.schedule();
      } catch (error) {
        console.warn(`Skipped a preview of ${header.camera_id}: not a valid JPEG.`, error);
      }
    }
    this.decoding = false;
  }

  private draw(): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = window.devicePixelRatio;
    const [pixelWidth, pixelHeight] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== pixelWidth || this.canvas.height !== pixelHeight) {
      this.canvas.width = pixelWidth;
      this.canvas.height = pixelHeight;
    }
    this.ctx.setTransform(scale, 0, 0, scale, 0, 0);
    this.ctx.imageSmoothingQuality = "high";
    drawScene(this.ctx, width, height, this.scene, Date.now());
    if (this.scene.flashes.some((one) => Date.now() - one.at < FLASH_MS)) this.schedule();
  }
}

export function Picture({ store, camera, onShown }: { store: Store; camera: Camera; onShown: () => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter | null>(null);

  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    const mine = new Painter(element, camera, onShown);
    painter.current = mine;
    const resized = new ResizeObserver(() => mine.schedule());
    resized.observe(element);
    const unwatch = watchWhileVisible(element, () => store.watch(camera.camera_id, (preview) => mine.show(preview)));
    const unlisten = store.listen((crossing) => {
      if (crossing.camera_id === camera.camera_id) mine.flash(crossing.line_id, crossing.direction);
    });
    return () => {
      resized.disconnect();
      unwatch();
      unlisten();
      mine.close();
    };
    // The card's key is the camera's id, so another camera makes a new component.
  }, [store, camera.camera_id]);

  useEffect(() => painter.current?.configure(camera), [camera]);

  const lines = (camera.spec?.lines ?? []).map((line) => line.line_id).join(", ");
  return (
    <canvas
      ref={canvas}
      class="picture"
      role="img"
      aria-label={`Live picture of ${camera.name}${lines && `, with the lines ${lines}`}`}
    />
  );
}

/** Calls `watch` when the element becomes visible, and the function that it returned when the element is hidden. */
function watchWhileVisible(element: Element, watch: () => () => void): () => void {
  let inSight = false;
  let unwatch: (() => void) | null = null;
  let settling: ReturnType<typeof setTimeout> | undefined;

  function settle(): void {
    const seen = inSight && !document.hidden;
    if (seen && !unwatch) {
      unwatch = watch();
    } else if (!seen && unwatch) {
      unwatch();
      unwatch = null;
    }
  }
  function changed(): void {
    clearTimeout(settling);
    settling = setTimeout(settle, SETTLE_MS);
  }
  const sight = new IntersectionObserver(
    (entries) => {
      inSight = entries.at(-1)?.isIntersecting ?? false;
      changed();
    },
    { rootMargin: "80px" },
  );
  sight.observe(element);
  document.addEventListener("visibilitychange", changed);
  return () => {
    clearTimeout(settling);
    sight.disconnect();
    document.removeEventListener("visibilitychange", changed);
    unwatch?.();
  };
}
