import type { ComponentChildren, JSX } from 'preact';
import type { Overview, ReaderRow, StreamRow, Totals } from '../../packages/server/src/console/snapshot.ts';
import { countCauses, pressureTexts } from './causes.ts';
import { conditionTexts, openConditions } from './conditions.ts';
import { fullInMs } from './forecast.ts';
import { Hint } from './hint.tsx';
import { rate } from './history.ts';
import { Meter } from './meter.tsx';
import { streamHref } from './route.ts';
import { bytesText, clockText, countText, durationText, plural, rateText } from './units.ts';
import { stalledStreams } from './verdict.ts';

/** The few figures that say where chunks wait, for whom and why. */
export function Figures({
  overview: { openStreams, pressureChanges, streams, totals },
  history,
}: {
  readonly overview: Overview;
  readonly history: readonly Totals[];
}): JSX.Element {
  const before = history.findLast(({ atMs }) => atMs <= totals.atMs - 900);
  const speed = (counter: (of: Totals) => number): string =>
    rateText(before === undefined ? 0 : (rate(before, totals, counter) ?? 0));
  const fullMs = fullInMs(totals, history);
  const stalled = stalledStreams(streams);
  const ttft = history.findLast(({ ttftMs }) => ttftMs !== null)?.ttftMs ?? null;
  const worst = furthestBehind(streams);
  const change = pressureChanges.at(-1);
  return (
    <section class="figures" aria-labelledby="figures-heading">
      <h2 id="figures-heading" class="visually-hidden">
        Now
      </h2>
      <Figure
        label="Waiting for readers"
        hint="Bytes that wait for the slowest reader of each stream, added up. Held is this and the history that is kept for readers to come; the budget is what all streams together may hold."
        value={bytesText(totals.waitingBytes)}
        note={
          `${bytesText(totals.heldBytes)} held with history, of ${bytesText(totals.heldLimitBytes)}` +
          (fullMs === undefined ? '' : `; at this rate full in ${durationText(fullMs)}`)
        }
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
        hint="The age of the oldest chunk that waits for any reader, and how much waits for that reader of what may."
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
        {/* Empty when nobody is behind: what comes and goes would move the rest. */}
        <Meter
          label="Lag of the reader furthest behind, of its bound"
          value={worst?.reader.lagBytes ?? 0}
          max={worst?.reader.maxLagBytes ?? 0}
          text={
            worst === undefined
              ? 'nobody is behind'
              : `${bytesText(worst.reader.lagBytes)} of ${bytesText(worst.reader.maxLagBytes)}`
          }
        />
      </Figure>
      <Figure
        label="Models made to wait"
        hint="Streams that are not read from their provider, because what may wait for their slowest reader does."
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
      />
      <Figure
        label="Streams"
        hint="Open streams: those whose provider is at work or that a reader still needs. The table below has the same ones."
        value={countText(openStreams)}
        note={[
          ...openConditions
            .filter((condition) => condition === 'streaming' || totals.streams[condition] > 0)
            .map((condition) => `${countText(totals.streams[condition])} ${conditionTexts[condition].label}`),
          plural(totals.readers, 'reader'),
        ].join(', ')}
      />
      <Figure
        label="Tokens a second"
        hint="Events with data, in the last second: from providers, and to all readers together."
        value={speed((of) => of.tokensGenerated)}
        unit="in"
        note={`${speed((of) => of.tokensDelivered)} out, to all readers`}
      />
      <Figure
        label="Time to first token"
        hint="From a request’s arrival to its provider’s first event, of the streams that began in the latest second in which any did. p50: half of them were faster; p99: 99 in 100 were."
        value={ttft === null ? '–' : durationText(ttft.p50)}
        unit={ttft === null ? undefined : 'p50'}
        note={ttft === null ? 'no stream has begun' : `p99 ${durationText(ttft.p99)}`}
      />
      <Figure
        label="Event loop delay"
        hint="How late the gateway itself is: each token may be late by that. p50 and p99 of the last second."
        value={durationText(totals.loopDelayMs.p99)}
        unit="p99"
        level={totals.loopDelayMs.p99 > 100 ? 'bad' : 'ok'}
        note={`p50 ${durationText(totals.loopDelayMs.p50)}, process ${bytesText(totals.rssBytes)}`}
      />
      {totals.pressure !== null && (
        <Figure
          label="Pressure"
          hint="From which level on something gives way is a setting: a shorter or cheaper answer, fewer writes, or a refusal."
          value={countText(totals.pressure)}
          unit="of 3"
          level={totals.pressure > 0 ? 'warn' : 'ok'}
          note={
            change === undefined
              ? 'nothing has given way'
              : change.level === 0
                ? `nothing gives way since ${clockText(change.atMs)}`
                : `since ${clockText(change.atMs)}, because ${pressureTexts[change.cause]}`
          }
        />
      )}
    </section>
  );
}

function Figure({
  label,
  hint,
  value,
  unit,
  note,
  level = 'ok',
  children,
}: {
  readonly label: string;
  /** What it means. */
  readonly hint: string;
  readonly value: string;
  readonly unit?: string | undefined;
  readonly note: ComponentChildren;
  readonly level?: 'bad' | 'ok' | 'warn';
  readonly children?: ComponentChildren;
}): JSX.Element {
  return (
    <div class="figure" data-level={level}>
      <h3>
        <Hint text={hint}>{label}</Hint>
      </h3>
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
