import type { JSX } from 'preact';
import type { StreamEvent } from '../../packages/server/src/console/snapshot.ts';
import { bytesText, clockText, plural } from './units.ts';

/** A stretch of time on the screen. */
export interface TimeSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

/** How far a reader was behind at a moment. */
export interface LagSample {
  readonly atMs: number;
  readonly lagBytes: number;
}

export const eventTexts: Readonly<Record<StreamEvent['type'], string>> = {
  opened: 'opened',
  responded: 'provider answered',
  retried: 'tried again',
  fell_back: 'next target asked',
  first_token: 'first token',
  paused: 'model made to wait',
  resumed: 'model goes on',
  gap: 'gap',
  gave_way: 'gave way to pressure',
  reader_joined: 'joined',
  reader_left: 'left',
  reader_lost: 'connection lost',
  reader_resumed: 'came back',
  ended: 'ended',
};

/** Each kind of event has a shape of its own, 10 pixels wide, around 0,0. */
const shapes: Readonly<Record<StreamEvent['type'], string>> = {
  opened: 'M-4 -5L5 0L-4 5Z',
  responded: 'M0 -5L5 0L0 5L-5 0Z',
  retried: 'M-5 5L0 -5L5 5Z',
  fell_back: 'M-5 -5L0 0L-5 5ZM0 -5L5 0L0 5Z',
  first_token: 'M-5 0A5 5 0 1 1 5 0A5 5 0 1 1 -5 0Z',
  paused: 'M-4 -5H-1V5H-4ZM1 -5H4V5H1Z',
  resumed: 'M-4 -5L5 0L-4 5Z',
  gap: 'M-5 -5H5L0 5Z',
  gave_way: 'M-5 -2H5L0 4Z',
  reader_joined: 'M-1.500 -5H1.500V-1.500H5V1.500H1.500V5H-1.500V1.500H-5V-1.500H-1.500Z',
  reader_left: 'M-5 -1.500H5V1.500H-5Z',
  reader_lost: 'M-5 -3L-3 -5L0 -2L3 -5L5 -3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z',
  reader_resumed: 'M-5 0A5 5 0 1 1 5 0A5 5 0 1 1 -5 0ZM-2 0A2 2 0 1 0 2 0A2 2 0 1 0 -2 0Z',
  ended: 'M-4 -4H4V4H-4Z',
};

/** One mark of the legend, or on a lane. */
export function EventMark({ type }: { readonly type: StreamEvent['type'] }): JSX.Element {
  return <path class="mark" data-type={type} d={shapes[type]} fill-rule="evenodd" />;
}

const markPx = 10;
/** From one mark to the next, and from an edge. */
const placePx = 12;
const edgePx = 6;
/** As wide as the words for what the page did not see. */
const unseenPx = 150;
const marksPx = 16;
const graphPx = 48;

/** What happened to one reader, or to the stream, on the time axis that all of them share. */
export function Lane({
  label,
  span,
  widthPx,
  events,
  pauses = [],
  samples = [],
  maxLagBytes = 0,
  pointedMs,
  onPoint,
}: {
  readonly label: string;
  readonly span: TimeSpan;
  readonly widthPx: number;
  readonly events: readonly StreamEvent[];
  /** When the model was made to wait. */
  readonly pauses?: readonly TimeSpan[];
  readonly samples?: readonly LagSample[];
  /** The top of the graph. */
  readonly maxLagBytes?: number;
  /** The moment below the pointer, of this lane or of another one. */
  readonly pointedMs: number | undefined;
  readonly onPoint: (atMs: number | undefined) => void;
}): JSX.Element {
  const hasGraph = maxLagBytes > 0;
  const heightPx = marksPx + (hasGraph ? graphPx : 8);
  const scale = widthPx / Math.max(1, span.toMs - span.fromMs);
  const xOf = (atMs: number): number => Math.round((atMs - span.fromMs) * scale * 10) / 10;
  const seen = samples.filter(({ atMs }) => atMs >= span.fromMs);
  const most = seen.reduce((top, { lagBytes }) => Math.max(top, lagBytes), 0);
  const now = seen.at(-1);
  const firstX = xOf(seen[0]?.atMs ?? span.fromMs);
  const said = hasGraph
    ? `${label}: ${bytesText(now?.lagBytes ?? 0)} of ${bytesText(maxLagBytes)} wait, at most ${bytesText(most)} while this page looked. `
    : `${label}: `;
  return (
    <svg
      class="lane"
      width={widthPx}
      height={heightPx}
      role="img"
      aria-label={`${said}${plural(events.length, 'event')}, listed below.`}
      onPointerMove={({ offsetX }) => onPoint(span.fromMs + offsetX / scale)}
      onPointerDown={({ offsetX }) => onPoint(span.fromMs + offsetX / scale)}
      onPointerLeave={() => onPoint(undefined)}
    >
      {pauses.map(({ fromMs, toMs }) => (
        <rect
          key={fromMs}
          class="pause"
          x={Math.max(0, xOf(fromMs))}
          y={hasGraph ? marksPx : 0}
          width={Math.max(1, xOf(toMs) - Math.max(0, xOf(fromMs)))}
          height={hasGraph ? graphPx : heightPx}
        />
      ))}
      {hasGraph && firstX > unseenPx && (
        <g class="unseen">
          <rect y={marksPx} width={firstX} height={graphPx} />
          <text x="8" y={marksPx + graphPx - 8}>
            before this page looked
          </text>
        </g>
      )}
      {hasGraph && <line class="bound" x1={0} x2={widthPx} y1={marksPx + 0.5} y2={marksPx + 0.5} />}
      {seen.length > 1 && <path class="lag-area" d={areaOf(seen, xOf, maxLagBytes)} />}
      <line class="floor" x1={0} x2={widthPx} y1={heightPx - 0.5} y2={heightPx - 0.5} />
      {apart(
        events.filter(({ atMs }) => atMs >= span.fromMs),
        xOf,
        widthPx,
      ).map(({ event, x }) => (
        <g key={`${event.atMs} ${event.type}`} transform={`translate(${x} 8)`}>
          <title>{`${clockText(event.atMs)} ${eventTexts[event.type]} ${event.detail}`}</title>
          <EventMark type={event.type} />
        </g>
      ))}
      {pointedMs !== undefined && (
        <Pointed
          x={xOf(pointedMs)}
          widthPx={widthPx}
          heightPx={heightPx}
          text={textAt(pointedMs, seen, hasGraph)}
        />
      )}
    </svg>
  );
}

function areaOf(samples: readonly LagSample[], xOf: (atMs: number) => number, maxLagBytes: number): string {
  const bottom = marksPx + graphPx;
  const points = samples.map(({ atMs, lagBytes }) => {
    const y = bottom - Math.min(1, lagBytes / maxLagBytes) * graphPx;
    return `${xOf(atMs)} ${Math.round(y * 10) / 10}`;
  });
  return `M${xOf(samples[0]?.atMs ?? 0)} ${bottom}L${points.join('L')}L${xOf(samples.at(-1)?.atMs ?? 0)} ${bottom}Z`;
}

/** The value at a moment, beside a line there. */
function Pointed({
  x,
  widthPx,
  heightPx,
  text,
}: {
  readonly x: number;
  readonly widthPx: number;
  readonly heightPx: number;
  readonly text: string;
}): JSX.Element {
  const isRight = x > widthPx / 2;
  return (
    <g class="pointed" aria-hidden="true">
      <line x1={x} x2={x} y1={0} y2={heightPx} />
      <text x={isRight ? x - 6 : x + 6} y={heightPx - 8} text-anchor={isRight ? 'end' : 'start'}>
        {text}
      </text>
    </g>
  );
}

function textAt(atMs: number, samples: readonly LagSample[], hasGraph: boolean): string {
  if (!hasGraph) return clockText(atMs);
  const sample = samples.findLast((candidate) => candidate.atMs <= atMs);
  return sample === undefined ? clockText(atMs) : `${clockText(atMs)} ${bytesText(sample.lagBytes)}`;
}

interface PlacedEvent {
  readonly event: StreamEvent;
  readonly x: number;
}

/**
 * Marks that would cover each other stand side by side, at most three places from where they belong; of one kind, and
 * beyond that, one stands for all. All are in the list below.
 */
function apart(
  events: readonly StreamEvent[],
  xOf: (atMs: number) => number,
  widthPx: number,
): readonly PlacedEvent[] {
  const lastOfType = new Map<StreamEvent['type'], number>();
  const placed: { event: StreamEvent; x: number }[] = [];
  for (const event of events) {
    const x = Math.max(xOf(event.atMs), edgePx);
    if (x - (lastOfType.get(event.type) ?? -Infinity) < markPx) continue;
    const free = (placed.at(-1)?.x ?? -Infinity) + placePx;
    if (free - x > 3 * placePx) continue;
    lastOfType.set(event.type, x);
    placed.push({ event, x: Math.max(x, free) });
  }
  let mostPx = widthPx - edgePx;
  for (const mark of placed.toReversed()) {
    mark.x = Math.min(mark.x, mostPx);
    mostPx = mark.x - placePx;
  }
  return placed;
}
