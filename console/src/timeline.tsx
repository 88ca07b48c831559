import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import type { ReaderRow, StreamDetail, StreamEvent } from '../../packages/server/src/console/snapshot.ts';
import { ActionButton } from './action-button.tsx';
import { causeTexts, untakenBy, whySentence } from './causes.ts';
import type { Feed } from './feed.ts';
import { useElementWidth } from './element-width.ts';
import { Meter } from './meter.tsx';
import { EventMark, eventTexts, Lane, type LagSample, type TimeSpan } from './reader-lane.tsx';
import { docHref } from './route.ts';
import { openedAtMs, type StreamMemory } from './stream-memory.ts';
import { lagRatio } from './stream-order.ts';
import { heldMsOf, TapRowView } from './tap-lane.tsx';
import { bytesText, clockText, countText, durationText, plural } from './units.ts';

const maxSpanMs = 300_000;
const leastSpanMs = 20_000;
/** More would not fit on a screen; those that are furthest behind matter. */
const maxLanes = 24;

/** The stream and its readers on one time axis: how far each was behind, against its bound, and what happened. */
export function Timeline({
  detail,
  memory: { events, samples },
  feed,
}: {
  readonly detail: StreamDetail;
  readonly memory: StreamMemory;
  readonly feed: Feed;
}): JSX.Element {
  const { atMs, stream } = detail;
  // What is below the pointer of one lane is shown in all.
  const [pointedMs, setPointedMs] = useState<number>();
  const axis = useRef<HTMLDivElement>(null);
  const widthPx = useElementWidth(axis);
  const fromMs = openedAtMs(detail);
  const endedAtMs = events.findLast(({ type }) => type === 'ended')?.atMs;
  const toMs = endedAtMs === undefined ? atMs : endedAtMs + stream.ageMs * 0.02;
  const span = {
    fromMs: Math.max(fromMs, toMs - maxSpanMs),
    toMs: Math.max(toMs, fromMs + leastSpanMs),
  };
  const pauses = pausesOf(events, span);
  const readers =
    stream.readers.length <= maxLanes
      ? stream.readers
      : stream.readers.toSorted((a, b) => lagRatio(b) - lagRatio(a)).slice(0, maxLanes);
  const kinds = [...new Set(events.map(({ type }) => type))];
  return (
    <section class="panel timeline" aria-labelledby="timeline-heading">
      <h2 id="timeline-heading">{detail.taps.length === 0 ? 'Readers' : 'Readers and taps'}</h2>
      <div class="lane-row">
        <div class="lane-head">
          <b>Model</b>
          <span class="sub">
            {plural(stream.tokens, 'token')}
            {stream.stallCause === null ? '' : `, waits: ${causeTexts[stream.stallCause].one}`}
          </span>
        </div>
        <div ref={axis} class="lane-box">
          <Lane
            label="Model"
            span={span}
            widthPx={widthPx}
            events={events.filter(
              ({ reader, type }) => reader === null || type === 'paused' || type === 'resumed',
            )}
            pauses={pauses}
            pointedMs={pointedMs}
            onPoint={setPointedMs}
          />
        </div>
      </div>
      {readers.map((reader) => (
        <ReaderRowView
          key={reader.number}
          reader={reader}
          events={events.filter((event) => event.reader === reader.number)}
          samples={samples.get(reader.number) ?? []}
          span={span}
          widthPx={widthPx}
          pointedMs={pointedMs}
          onPoint={setPointedMs}
          detach={() => feed.act(`streams/${encodeURIComponent(stream.id)}/readers/${reader.number}/detach`)}
        />
      ))}
      {detail.taps.map((tap) => (
        <TapRowView
          key={tap.name}
          tap={tap}
          heldMs={heldMsOf(detail)}
          samples={samples.get(tap.name) ?? []}
          span={span}
          widthPx={widthPx}
          pointedMs={pointedMs}
          onPoint={setPointedMs}
        />
      ))}
      <div class="lane-row">
        <div class="lane-head" />
        <Axis span={span} widthPx={widthPx} />
      </div>
      {readers.length < stream.readers.length && (
        <p class="sub">
          The {maxLanes} furthest behind of {countText(stream.readers.length)} readers.
        </p>
      )}
      <ul class="legend">
        <li>
          <svg width="14" height="12" aria-hidden="true">
            <rect class="lag-area" width="14" height="12" />
          </svg>
          waits for the reader or tap
        </li>
        <li>
          <svg width="14" height="12" aria-hidden="true">
            <line class="bound" x1="0" x2="14" y1="6" y2="6" />
          </svg>
          its bound
        </li>
        {pauses.length > 0 && (
          <li>
            <svg width="14" height="12" aria-hidden="true">
              <rect class="pause" width="14" height="12" />
            </svg>
            model waits
          </li>
        )}
        {kinds.map((type) => (
          <li key={type}>
            <svg width="14" height="12" viewBox="-7 -6 14 12" aria-hidden="true">
              <EventMark type={type} />
            </svg>
            {eventTexts[type]}
          </li>
        ))}
      </ul>
    </section>
  );
}

function ReaderRowView({
  reader,
  events,
  samples,
  span,
  widthPx,
  pointedMs,
  onPoint,
  detach,
}: {
  readonly reader: ReaderRow;
  readonly events: readonly StreamEvent[];
  readonly samples: readonly LagSample[];
  readonly span: TimeSpan;
  readonly widthPx: number;
  readonly pointedMs: number | undefined;
  readonly onPoint: (atMs: number | undefined) => void;
  readonly detach: () => Promise<void>;
}): JSX.Element {
  const { acknowledgedTokens, creditBytes, gaps, lagBytes, lagMs, lostTokens, maxLagBytes } = reader;
  const why = whySentence(reader);
  const untaken = untakenBy(reader);
  const text = `${bytesText(lagBytes)} of ${bytesText(maxLagBytes)}`;
  const facts = [
    plural(reader.tokens, 'token'),
    ...(acknowledgedTokens === null ? [] : [`${countText(acknowledgedTokens)} acknowledged`]),
    ...(creditBytes === null ? [] : [`${bytesText(creditBytes)} credit`]),
    ...(untaken === undefined || untaken.isMuch ? [] : [untaken.text]),
    ...(reader.mergedEvents > 0 ? [`${countText(reader.mergedEvents)} merged`] : []),
    ...(gaps > 0 ? [`${plural(gaps, 'gap')}, ${plural(lostTokens, 'token')} lost`] : []),
  ];
  return (
    <div class="lane-row">
      <div class="lane-head">
        <div class="who">
          <span>
            <b>Reader {reader.number}</b> {reader.via}, {reader.policy}
          </span>
          <ActionButton label="Detach" question={`Detach reader ${reader.number}?`} act={detach}>
            It gets no more of the stream, which goes on for the others. If it is the last one, the stream’s
            detach policy decides about the model.
          </ActionButton>
        </div>
        <div class="why">{why}</div>
        <Meter label={`Lag of reader ${reader.number}`} value={lagBytes} max={maxLagBytes} text={text} />
        <div>
          {text}, {durationText(lagMs)}
        </div>
        <div class="sub">{facts.join(', ')}</div>
        {untaken?.isMuch === true && (
          <div>
            {untaken.text}: <a href={docHref('runbook', 'spillwaysessionsslow')}>what to do</a>
          </div>
        )}
      </div>
      <div class="lane-box">
        <Lane
          label={`Reader ${reader.number}`}
          span={span}
          widthPx={widthPx}
          events={events}
          samples={samples}
          maxLagBytes={maxLagBytes}
          pointedMs={pointedMs}
          onPoint={onPoint}
        />
      </div>
    </div>
  );
}

const tickEveryPx = 110;

function Axis({ span, widthPx }: { readonly span: TimeSpan; readonly widthPx: number }): JSX.Element {
  const lengthMs = span.toMs - span.fromMs;
  const roughMs = lengthMs / Math.max(1, widthPx / tickEveryPx);
  const stepMs =
    [1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000].find((step) => step >= roughMs) ?? 120_000;
  const ticks: number[] = [];
  for (let at = Math.ceil(span.fromMs / stepMs) * stepMs; at <= span.toMs; at += stepMs) ticks.push(at);
  return (
    <div class="axis" aria-hidden="true">
      {ticks.map((at) => (
        <span key={at} style={{ left: `${((at - span.fromMs) / lengthMs) * 100}%` }}>
          {clockText(at)}
        </span>
      ))}
    </div>
  );
}

/** From each `paused` to what ended it. */
function pausesOf(events: readonly StreamEvent[], span: TimeSpan): readonly TimeSpan[] {
  const pauses: TimeSpan[] = [];
  let fromMs: number | undefined;
  for (const { atMs, type } of events) {
    if (type === 'paused') {
      fromMs ??= atMs;
    } else if (fromMs !== undefined && (type === 'resumed' || type === 'ended')) {
      if (atMs > span.fromMs) pauses.push({ fromMs, toMs: atMs });
      fromMs = undefined;
    }
  }
  if (fromMs !== undefined) pauses.push({ fromMs, toMs: span.toMs });
  return pauses;
}
