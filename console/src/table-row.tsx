import type { JSX } from 'preact';
import type { ReaderRow, StreamRow } from '../../packages/server/src/console/snapshot.ts';
import { causeTexts, whyOf } from './causes.ts';
import { modelName } from './model-name.ts';
import { Meter } from './meter.tsx';
import { streamHref } from './route.ts';
import { StateBadge } from './state-badge.tsx';
import { lagRatio } from './stream-order.ts';
import type { StreamRate } from './stream-rates.ts';
import { bytesText, countText, durationText, placeText, rateText } from './units.ts';

const maxReaders = 3;
const linePx = 20;
const paddingPx = 12;

/** A row's height follows from its stream, so that a thousand need no measuring. The style sheet has the same figures. */
export function rowHeightPx({ readers }: StreamRow, isNarrow: boolean): number {
  const lines = Math.min(readers.length, maxReaders) + (readers.length > maxReaders ? 1 : 0);
  return isNarrow
    ? 2 * paddingPx + linePx * (3 + Math.max(1, lines))
    : paddingPx + linePx * Math.max(2, lines);
}

/** One stream: who, what, how fast, and each of its readers on a line of its own. */
export function TableRow({
  stream,
  rate,
  index,
  heightPx,
}: {
  readonly stream: StreamRow;
  readonly rate: StreamRate;
  readonly index: number;
  readonly heightPx: number;
}): JSX.Element {
  const { ageMs, client, condition, id, model, provider } = stream;
  const sorted = stream.readers.toSorted((a, b) => lagRatio(b) - lagRatio(a));
  const readers = sorted.slice(0, maxReaders);
  const more = sorted.length - readers.length;
  const lines = (lineOf: (reader: ReaderRow) => JSX.Element | string): JSX.Element[] =>
    readers.map((reader) => <div key={reader.number}>{lineOf(reader)}</div>);
  return (
    <tr style={{ height: `${heightPx}px` }} aria-rowindex={index}>
      <td class="client">
        {/* It covers the row: so its title is that of the row, and says what may be cut. */}
        <a href={streamHref(id)} title={`${model || 'no model named'}, ${provider}`}>
          {client.agent || 'unnamed client'}
        </a>
        <div class="sub">
          {client.address}
          {client.caller !== '' && <span title="its key's name"> · {client.caller}</span>}
        </div>
      </td>
      <td class="model">
        <div>{modelName(stream) || '–'}</div>
        <div class="sub">{provider}</div>
      </td>
      <td class="state">
        <StateBadge condition={condition} />
        {stream.stallCause !== null && <div class="sub">{causeTexts[stream.stallCause].one}</div>}
        {stream.waitPosition !== null && <div class="sub">{placeText(stream.waitPosition)}</div>}
      </td>
      <td class="age number">{durationText(ageMs)}</td>
      <td class="in number">{rateText(rate.inPerSecond)}</td>
      <td class="out number">{rateText(rate.outPerSecond)}</td>
      <td class="lag">
        {lines((reader) => (
          <ReaderLag reader={reader} />
        ))}
        {more > 0 && <div class="sub">and {more} that are less behind</div>}
        {sorted.length === 0 && <div class="sub">nobody reads</div>}
      </td>
      <td class="policy">{lines(({ policy }) => policy)}</td>
      <td class="credit number">
        {lines(({ creditBytes }) => (creditBytes === null ? '–' : bytesText(creditBytes)))}
      </td>
      <td class="merged number">{lines(({ mergedEvents }) => countText(mergedEvents))}</td>
      <td class="gaps number">{lines(({ gaps }) => countText(gaps))}</td>
    </tr>
  );
}

/** The bar, the figures, and why. */
function ReaderLag({ reader }: { readonly reader: ReaderRow }): JSX.Element {
  const { lagBytes, lagMs, maxLagBytes, number } = reader;
  const text = `${bytesText(lagBytes)} of ${bytesText(maxLagBytes)}, ${durationText(lagMs)}`;
  return (
    <div class="reader-lag">
      <Meter label={`Lag of reader ${number}`} value={lagBytes} max={maxLagBytes} text={text} />
      <span class="bytes">{bytesText(lagBytes)}</span>
      <span class="ms">{durationText(lagMs)}</span>
      <span class="why">{whyOf(reader)}</span>
    </div>
  );
}
