/** Draws the chart as SVG: style sheets colour it, tests read it, and it is sharp at any pixel density. */

import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "../format";
import { type Bar, countTicks, gapKind, gaps, timeTicks } from "../series";

/** Height in pixels: a share of the width, within limits. */
const HEIGHT = { share: 0.2, least: 220, most: 340 };
const LEFT = 40;
const RIGHT = 8;
const TOP = 10;
/** Below the bars: the coverage strip, then the times. In pixels. */
const STRIP = 8;
const STRIP_GAP = 8;
const TIMES = 24;
const LABEL_PX = 74;
const GAP_WORDS_PX = 84;

interface Props {
  all: readonly Bar[];
  zone: string;
  active: number | null;
  onActive: (index: number | null) => void;
  summary: string;
}

export function Plot({ all, zone, active, onActive, summary }: Props) {
  const [box, width] = useWidth();
  const inner = Math.max(50, width - LEFT - RIGHT);
  const pitch = inner / all.length;
  const height = Math.round(Math.min(Math.max(width * HEIGHT.share, HEIGHT.least), HEIGHT.most));
  const bottom = height - TIMES - STRIP - STRIP_GAP;
  const y = scale(all, TOP, bottom);
  const left = (index: number) => LEFT + index * pitch;

  function pointed(event: PointerEvent): void {
    const x = event.clientX - (event.currentTarget as Element).getBoundingClientRect().left - LEFT;
    const index = Math.floor(x / pitch);
    onActive(index >= 0 && index < all.length ? index : null);
  }

  function pressed(event: KeyboardEvent): void {
    const at = active ?? all.length - 1;
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1, Escape: null }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    onActive(next === null ? null : Math.max(0, Math.min(next, all.length - 1)));
  }

  return (
    <div class="plot" ref={box}>
      <svg
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        role="application"
        aria-label={summary}
        tabIndex={0}
        onPointerMove={pointed}
        onPointerLeave={() => onActive(null)}
        onBlur={() => onActive(null)}
        onKeyDown={pressed}
      >
        <defs>
          <pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect class="hatch-line" width="2" height="7" />
          </pattern>
        </defs>
        <Grid y={y} right={LEFT + inner} />
        <Times
          all={all}
          zone={zone}
          left={left}
          top={TOP}
          bottom={bottom}
          foot={height}
          pitch={pitch}
          most={inner / LABEL_PX}
        />
        <Gaps all={all} left={left} bottom={bottom} />
        {all.map((bar, i) => (
          <BarPair key={bar.start} bar={bar} x={left(i)} pitch={pitch} y={y} />
        ))}
        <line class="zero" x1={LEFT} x2={LEFT + inner} y1={y(0)} y2={y(0)} />
        <Coverage all={all} left={left} pitch={pitch} top={bottom + STRIP_GAP} />
        {active !== null && active < all.length && (
          <rect
            class="cursor"
            x={left(active)}
            y={TOP}
            width={Math.max(pitch, 1)}
            height={bottom - TOP + STRIP_GAP + STRIP}
          />
        )}
      </svg>
    </div>
  );
}

function Grid({ y, right }: { y: Scale; right: number }) {
  const ticks = countTicks(y.down, y.top, 6);
  return (
    <g class="grid-lines">
      {ticks.map((tick) => (
        <g key={tick}>
          {tick !== 0 && <line x1={LEFT} x2={right} y1={y(tick)} y2={y(tick)} />}
          <text x={LEFT - 6} y={y(tick)} dy="0.35em" text-anchor="end">
            {count(Math.abs(tick))}
          </text>
        </g>
      ))}
    </g>
  );
}

interface TimesProps {
  all: readonly Bar[];
  zone: string;
  left: (index: number) => number;
  top: number;
  bottom: number;
  foot: number;
  pitch: number;
  most: number;
}

function Times({ all, zone, left, top, bottom, foot, pitch, most }: TimesProps) {
  const ticks = timeTicks(all, zone, most);
  // The label of a day is in the middle of its bucket; the label of a time is where that time is.
  const offset = all[0] && all[0].end - all[0].start >= 23 * 3600_000 ? pitch / 2 : 0;
  return (
    <g class="times">
      {ticks.map((tick) => (
        <g key={tick.index} class={tick.newDay ? "new-day" : ""}>
          <line x1={left(tick.index)} x2={left(tick.index)} y1={top} y2={bottom} />
          <text
            x={Math.max(left(tick.index) + offset, LEFT)}
            y={foot - 6}
            text-anchor={tick.index === 0 && !offset ? "start" : "middle"}
          >
            {tick.label}
          </text>
        </g>
      ))}
    </g>
  );
}

function Gaps({ all, left, bottom }: { all: readonly Bar[]; left: (index: number) => number; bottom: number }) {
  return (
    <g>
      {gaps(all).map((gap) => {
        const [x, width] = [left(gap.first), left(gap.last + 1) - left(gap.first)];
        return (
          <g
            key={`${gap.kind} ${gap.first}`}
            class={`gap ${gap.kind}`}
            data-gap={gap.kind}
            data-buckets={gap.last - gap.first + 1}
          >
            <rect x={x} y={TOP} width={width} height={bottom - TOP} fill="url(#hatch)" />
            {gap.kind === "none" && width > GAP_WORDS_PX && (
              <>
                <rect class="gap-plate" x={x + width / 2 - 40} y={TOP + 4} width={80} height={18} rx={4} />
                <text x={x + width / 2} y={TOP + 17} text-anchor="middle">
                  not covered
                </text>
              </>
            )}
          </g>
        );
      })}
    </g>
  );
}

function BarPair({ bar, x, pitch, y }: { bar: Bar; x: number; pitch: number; y: Scale }) {
  const width = Math.max(1, Math.min(pitch - 1, pitch * 0.8));
  const at = x + (pitch - width) / 2;
  if (gapKind(bar) === "none") return null;
  return (
    <g
      class={`bars ${bar.state}`}
      data-start={bar.start}
      data-in={bar.in}
      data-out={bar.out}
      data-coverage={bar.coverage}
      data-state={bar.state}
    >
      <rect class="in" x={at} width={width} y={y(bar.in)} height={y(0) - y(bar.in)} rx={Math.min(2, width / 3)} />
      <rect class="out" x={at} width={width} y={y(0)} height={y(-bar.out) - y(0)} rx={Math.min(2, width / 3)} />
    </g>
  );
}

function Coverage({
  all,
  left,
  pitch,
  top,
}: {
  all: readonly Bar[];
  left: (index: number) => number;
  pitch: number;
  top: number;
}) {
  return (
    <g class="coverage">
      <text x={LEFT - 6} y={top + STRIP / 2} dy="0.35em" text-anchor="end">
        seen
      </text>
      {all.map((bar, i) => (
        <g key={bar.start}>
          <rect class="missing-share" x={left(i)} y={top} width={pitch} height={STRIP} />
          <rect
            class="covered-share"
            x={left(i)}
            y={top + STRIP * (1 - bar.coverage)}
            width={pitch}
            height={STRIP * bar.coverage}
          />
        </g>
      ))}
    </g>
  );
}

/** Maps crossings to pixels: in above zero, out (negative) below, at the same scale, so that bars can be compared. */
interface Scale {
  (value: number): number;
  top: number;
  down: number;
}

function scale(all: readonly Bar[], from: number, to: number): Scale {
  const top = Math.max(2, ...all.map((bar) => bar.in)) * 1.08;
  const down = Math.max(2, ...all.map((bar) => bar.out)) * 1.08;
  const pixels = (to - from) / (top + down);
  return Object.assign((value: number) => from + (top - value) * pixels, { top, down });
}

function useWidth(): [preact.RefObject<HTMLDivElement | null>, number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const resized = new ResizeObserver(() => setWidth(element.clientWidth));
    resized.observe(element);
    return () => resized.disconnect();
  }, []);
  return [box, width];
}
