import type { ComponentChildren, JSX } from 'preact';
import type { Overview, ReaderRow, StreamRow, Totals } from '../../packages/server/src/console/snapshot.ts';
import { causeHints, causeTexts, countCauses } from './causes.ts';
import { rate } from './history.ts';
import { Meter } from './meter.tsx';
import { streamHref } from './route.ts';
import { bytesText, countText, durationText, rateText } from './units.ts';
import { stalledStreams } from './verdict.ts';

/** The few figures that say where chunks wait, for whom and why. */
export function Figures({
  overview: { streams, totals },
  history,
}: {
  readonly overview: Overview;
  readonly history: readonly Totals[];
}): JSX.Element {
  const before = history.findLast(({ atMs }) => atMs <= totals.atMs - 900);
  const speed = (counter: (of: Totals) => number): string =>
    rateText(before === undefined ? 0 : (rate(before, totals, counter) ?? 0));
  const { opening, paused, streaming, waiting } = totals.streams;
  const stalled = stalledStreams(streams);
  const ttft = history.findLast(({ ttftMs }) => ttftMs !== null)?.ttftMs ?? null;
  const worst = furthestBehind(streams);
  return (
    <section class="figures" aria-labelledby="figures-heading">
      <h2 id="figures-heading" class="visually-hidden">
        Now
      </h2>
      <Figure
        label="Waiting for readers"
        value={bytesText(totals.waitingBytes)}
        note={`${bytesText(totals.heldBytes)} held with history, of ${bytesText(totals.heldLimitBytes)}`}
      >
        <Meter
          label="Memory held, of the budget"
          value={totals.heldBytes}
          inner={totals.waitingBytes}
          max={totals.heldLimitBytes}
          text={`${bytesText(totals.heldBytes)} of ${bytesText(totals.heldLimitBytes)}`}
        />
      </Figure>
      <Figure
        label="Furthest behind"
        value={worst === undefined ? 'nobody' : durationText(worst.reader.lagMs)}
        note={
          worst === undefined ? (
            'every reader has everything'
          ) : (
            <>
              {bytesText(worst.reader.lagBytes)} of {bytesText(worst.reader.maxLagBytes)},{' '}
              <a href={streamHref(worst.stream.id)}>{worst.stream.client.agent || 'a reader'}</a>
            </>
          )
        }
      >
        {worst !== undefined && (
          <Meter
            label="Lag of the reader furthest behind, of its bound"
            value={worst.reader.lagBytes}
            max={worst.reader.maxLagBytes}
            text={`${bytesText(worst.reader.lagBytes)} of ${bytesText(worst.reader.maxLagBytes)}`}
          />
        )}
      </Figure>
      <Figure
        label="Models made to wait"
        value={countText(stalled.length)}
        level={stalled.length > 0 ? 'warn' : 'ok'}
        note={
          stalled.length === 0
            ? 'no reader holds its model up'
            : countCauses(
                stalled.map(({ stallCause }) => stallCause),
                '',
              )
        }
        {...(worst?.reader.waitsFor ? { title: whyText(worst.reader) } : {})}
      />
      <Figure
        label="Streams"
        value={countText(opening + paused + streaming)}
        note={[
          `${countText(streaming)} streaming`,
          ...(paused > 0 ? [`${countText(paused)} paused`] : []),
          ...(opening > 0 ? [`${countText(opening)} opening`] : []),
          ...(waiting > 0 ? [`${countText(waiting)} in the queue`] : []),
          `${countText(totals.readers)} readers`,
        ].join(', ')}
      />
      <Figure
        label="Tokens a second"
        value={speed((of) => of.tokensGenerated)}
        unit="in"
        note={`${speed((of) => of.tokensDelivered)} out, to all readers`}
      />
      <Figure
        label="Time to first token"
        value={ttft === null ? '–' : durationText(ttft.p50)}
        unit={ttft === null ? undefined : 'p50'}
        note={ttft === null ? 'no stream has begun' : `p99 ${durationText(ttft.p99)}`}
      />
      <Figure
        label="Event loop delay"
        value={durationText(totals.loopDelayMs.p99)}
        unit="p99"
        level={totals.loopDelayMs.p99 > 100 ? 'bad' : 'ok'}
        note={`p50 ${durationText(totals.loopDelayMs.p50)}, process ${bytesText(totals.rssBytes)}`}
      />
    </section>
  );
}

function Figure({
  label,
  value,
  unit,
  note,
  level = 'ok',
  title,
  children,
}: {
  readonly label: string;
  readonly value: string;
  readonly unit?: string | undefined;
  readonly note: ComponentChildren;
  readonly level?: 'bad' | 'ok' | 'warn';
  readonly title?: string;
  readonly children?: ComponentChildren;
}): JSX.Element {
  return (
    <div class="figure" data-level={level} title={title}>
      <h3>{label}</h3>
      <p class="value">
        {value}
        {unit !== undefined && <small> {unit}</small>}
      </p>
      {children}
      <p class="note">{note}</p>
    </div>
  );
}

/** By time, because that is what people feel; without any, by bytes. */
function furthestBehind(
  streams: readonly StreamRow[],
): { readonly stream: StreamRow; readonly reader: ReaderRow } | undefined {
  let worst: { stream: StreamRow; reader: ReaderRow } | undefined;
  for (const stream of streams) {
    for (const reader of stream.readers) {
      if (reader.lagBytes > 0 && reader.lagMs > (worst?.reader.lagMs ?? -1)) worst = { stream, reader };
    }
  }
  return worst;
}

function whyText({ waitsFor }: ReaderRow): string {
  return waitsFor === null ? '' : `${causeTexts[waitsFor].one}: ${causeHints[waitsFor]}`;
}
