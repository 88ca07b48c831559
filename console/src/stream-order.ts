import type { ReaderRow, StreamRow } from '../../packages/server/src/console/snapshot.ts';
import type { openConditions } from './conditions.ts';
import type { StreamRate } from './stream-rates.ts';

export type SortKey = 'age' | 'client' | 'gaps' | 'in' | 'lag' | 'merged' | 'model' | 'out' | 'state';

export interface Sorting {
  readonly key: SortKey;
  readonly isDescending: boolean;
}

export type StateFilter = 'all' | 'lagging' | (typeof openConditions)[number];

/** The share of its bound that a reader is behind. */
export function lagRatio({ lagBytes, maxLagBytes }: ReaderRow): number {
  return maxLagBytes > 0 ? lagBytes / maxLagBytes : 0;
}

export function isLagging(reader: ReaderRow): boolean {
  return reader.isLost || lagRatio(reader) > 0.5;
}

/** Whether a stream is what somebody looks for. Every word has to be somewhere in what says who it is. */
export function matches(stream: StreamRow, words: readonly string[], state: StateFilter): boolean {
  if (state === 'lagging' ? !stream.readers.some(isLagging) : state !== 'all' && stream.condition !== state) {
    return false;
  }
  if (words.length === 0) return true;
  const { client, id, model, provider, readers } = stream;
  const policies = readers.map(({ policy, via }) => `${policy} ${via}`).join(' ');
  const text =
    `${client.agent} ${client.address} ${client.caller} ${provider} ${model} ${id} ${policies}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Sorted; equals keep the gateway's order, which has the greatest lag first. */
export function sortStreams(
  streams: readonly StreamRow[],
  { isDescending, key }: Sorting,
  rates: ReadonlyMap<string, StreamRate>,
): readonly StreamRow[] {
  const sign = isDescending ? -1 : 1;
  const keyed = streams.map((stream) => ({ stream, value: valueOf(stream, key, rates) }));
  keyed.sort((a, b) => sign * compare(a.value, b.value));
  return keyed.map(({ stream }) => stream);
}

/** In the order that was, those that are new behind: so that nothing moves below a pointer. */
export function keepOrder(streams: readonly StreamRow[], order: readonly string[]): readonly StreamRow[] {
  const places = new Map(order.map((id, at) => [id, at]));
  const placeOf = ({ id }: StreamRow): number => places.get(id) ?? order.length;
  return streams.toSorted((a, b) => placeOf(a) - placeOf(b));
}

function valueOf(
  { ageMs, client, condition, id, model, readers }: StreamRow,
  key: SortKey,
  rates: ReadonlyMap<string, StreamRate>,
): number | string {
  switch (key) {
    case 'age':
      return ageMs;
    case 'client':
      return `${client.agent} ${client.address}`;
    case 'gaps':
      return readers.reduce((sum, { gaps }) => sum + gaps, 0);
    case 'in':
      return rates.get(id)?.inPerSecond ?? 0;
    case 'lag':
      return Math.max(0, ...readers.map(lagRatio));
    case 'merged':
      return readers.reduce((sum, { mergedEvents }) => sum + mergedEvents, 0);
    case 'model':
      return model;
    case 'out':
      return rates.get(id)?.outPerSecond ?? 0;
    case 'state':
      return condition;
    default:
      return key satisfies never;
  }
}

function compare(a: number | string, b: number | string): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b));
}
