import type { JSX } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import type { Overview, StreamCondition, StreamRow } from '../../packages/server/src/console/snapshot.ts';
import { conditionTexts, openConditions } from './conditions.ts';
import { Hint } from './hint.tsx';
import { narrowQuery, useMedia } from './media.ts';
import {
  isLagging,
  keepOrder,
  matches,
  type Sorting,
  type SortKey,
  sortStreams,
  type StateFilter,
} from './stream-order.ts';
import { type StreamRate, StreamRates } from './stream-rates.ts';
import { rowHeightPx, TableRow } from './table-row.tsx';
import { countText } from './units.ts';
import { useVisibleRows } from './visible-rows.ts';

interface Column {
  readonly key: SortKey | 'credit' | 'policy';
  readonly title: string;
  /** What it means, and its unit. */
  readonly hint: string;
  readonly isNumber?: boolean;
}

const columns: readonly Column[] = [
  {
    key: 'client',
    title: 'Client',
    hint: 'Who asked: the first product of its User-Agent, its address and the name of its key.',
  },
  {
    key: 'model',
    title: 'Model',
    hint: 'The model as the client named it, and the provider that was asked.',
  },
  {
    key: 'state',
    title: 'State',
    hint: 'Where the stream stands. Stalled: the model is made to wait. Draining: the model is done, and a reader still needs the rest. Queued: it waits for a free place.',
  },
  {
    key: 'age',
    title: 'Age',
    hint: 'Time since the request came.',
    isNumber: true,
  },
  {
    key: 'in',
    title: 'In/s',
    hint: 'Tokens a second from the provider, over the last snapshot.',
    isNumber: true,
  },
  {
    key: 'out',
    title: 'Out/s',
    hint: 'Tokens a second to all readers together: with three readers that keep up, three times what comes in.',
    isNumber: true,
  },
  {
    key: 'lag',
    title: 'Lag of each reader',
    hint: 'For each reader: what waits for it of what may (bytes), the age of the oldest of it, and why it is not written.',
  },
  {
    key: 'policy',
    title: 'Policy',
    hint: 'What happens to the reader when it is full.',
  },
  {
    key: 'credit',
    title: 'Credit',
    hint: 'Bytes that the reader may be sent now, of its window. Only readers over a session grant credit.',
    isNumber: true,
  },
  {
    key: 'merged',
    title: 'Merged',
    hint: 'Events that became part of another one on their way to a reader.',
    isNumber: true,
  },
  {
    key: 'gaps',
    title: 'Gaps',
    hint: 'How often a reader’s policy left something out, and how many tokens.',
    isNumber: true,
  },
];

/** Those that text sorts by; numbers begin with the greatest. */
const textKeys: ReadonlySet<string> = new Set(['client', 'model', 'state']);
const noRate: StreamRate = { inPerSecond: 0, outPerSecond: 0 };

/** All open streams. Only those on the screen are in the document. */
export function StreamTable({ overview }: { readonly overview: Overview }): JSX.Element {
  const [sorting, setSorting] = useState<Sorting>({ key: 'lag', isDescending: true });
  const [text, setText] = useState('');
  const [state, setState] = useState<StateFilter>('all');
  const body = useRef<HTMLTableSectionElement>(null);
  const isNarrow = useMedia(narrowQuery);
  const [rateOf] = useState(() => new StreamRates());
  const isHeld = useRef(false);
  const order = useRef<readonly string[]>([]);

  const rates = rateOf.update(overview);
  const shown = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const found = overview.streams.filter((stream) => matches(stream, words, state));
    const sorted = isHeld.current ? keepOrder(found, order.current) : sortStreams(found, sorting, rates);
    order.current = sorted.map(({ id }) => id);
    return sorted;
  }, [overview, text, state, sorting]);
  const heightsPx = useMemo(() => shown.map((stream) => rowHeightPx(stream, isNarrow)), [shown, isNarrow]);
  const { abovePx, belowPx, from, to } = useVisibleRows(body, heightsPx);

  // The same element is not rendered again, so that scrolling renders what is new only.
  const rows = useMemo(() => new Map<StreamRow, JSX.Element>(), [shown, isNarrow]);
  const row = (stream: StreamRow, at: number): JSX.Element => {
    const rendered = rows.get(stream) ?? (
      <TableRow
        key={stream.id}
        stream={stream}
        rate={rates.get(stream.id) ?? noRate}
        index={at + 2}
        heightPx={heightsPx[at] ?? 0}
      />
    );
    rows.set(stream, rendered);
    return rendered;
  };

  const sortBy = (key: SortKey): void => {
    isHeld.current = false;
    setSorting((was) =>
      was.key === key ? { key, isDescending: !was.isDescending } : { key, isDescending: !textKeys.has(key) },
    );
  };
  const { openStreams, streams } = overview;
  return (
    <section class="streams" aria-labelledby="streams-heading">
      <div class="toolbar">
        <h2 id="streams-heading">Open streams</h2>
        <input
          type="search"
          aria-label="Filter streams by text"
          placeholder="Client, address, caller, model, policy…"
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
        />
        <StateFilters streams={streams} state={state} onState={setState} />
        {isNarrow && <SortSelect sorting={sorting} onSort={sortBy} />}
        <p class="count">
          {shown.length === openStreams
            ? `${countText(openStreams)} open`
            : `${countText(shown.length)} of ${countText(openStreams)} open`}
          {openStreams > streams.length &&
            `, of which the page gets the ${countText(streams.length)} furthest behind`}
        </p>
      </div>
      <table
        aria-labelledby="streams-heading"
        aria-rowcount={shown.length + 1}
        // What somebody is about to click must not move away.
        onPointerEnter={() => (isHeld.current = true)}
        onPointerLeave={() => (isHeld.current = false)}
        onFocusIn={({ target }) => (isHeld.current = target instanceof HTMLAnchorElement)}
        onFocusOut={() => (isHeld.current = false)}
      >
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <ColumnHead
                key={column.key}
                column={column}
                sorting={sorting}
                onSort={isNarrow ? undefined : sortBy}
              />
            ))}
          </tr>
        </thead>
        <tbody ref={body}>
          <Spacer heightPx={abovePx} />
          {shown.slice(from, to).map((stream, at) => row(stream, from + at))}
          <Spacer heightPx={belowPx} />
        </tbody>
      </table>
      {shown.length === 0 && (
        <p class="empty">{streams.length === 0 ? 'No stream is open.' : 'No stream is like that.'}</p>
      )}
    </section>
  );
}

function ColumnHead({
  column: { hint, isNumber, key, title },
  sorting,
  onSort,
}: {
  readonly column: Column;
  readonly sorting: Sorting;
  /** `undefined`: it cannot be seen, so that nothing in it may have the focus. */
  readonly onSort: ((key: SortKey) => void) | undefined;
}): JSX.Element {
  const direction = sorting.isDescending ? 'descending' : 'ascending';
  const isSorted = sorting.key === key;
  return (
    <th scope="col" class={`${key} ${isNumber ? 'number' : ''}`} aria-sort={isSorted ? direction : undefined}>
      {onSort === undefined ? (
        title
      ) : key === 'credit' || key === 'policy' ? (
        <Hint text={hint}>{title}</Hint>
      ) : (
        <Hint text={`${hint} Sorts by it.`} onClick={() => onSort(key)}>
          {title}
          <span aria-hidden="true">{isSorted ? (sorting.isDescending ? ' ↓' : ' ↑') : ''}</span>
        </Hint>
      )}
    </th>
  );
}

/** Stands for the rows that are not in the document. */
function Spacer({ heightPx }: { readonly heightPx: number }): JSX.Element | null {
  if (heightPx === 0) return null;
  return (
    <tr class="spacer" aria-hidden="true">
      <td colSpan={columns.length} style={{ height: `${heightPx}px` }} />
    </tr>
  );
}

const filters: readonly StateFilter[] = ['all', 'lagging', ...openConditions];

function StateFilters({
  streams,
  state,
  onState,
}: {
  readonly streams: readonly StreamRow[];
  readonly state: StateFilter;
  readonly onState: (state: StateFilter) => void;
}): JSX.Element {
  const counts = useMemo(() => countStates(streams), [streams]);
  return (
    <div class="chips" role="group" aria-label="Filter streams by state">
      {filters.map((filter) => (
        <button key={filter} type="button" aria-pressed={state === filter} onClick={() => onState(filter)}>
          {filterText(filter)} <small>{countText(counts.get(filter) ?? 0)}</small>
        </button>
      ))}
    </div>
  );
}

function filterText(filter: StateFilter): string {
  if (filter === 'all') return filter;
  // The verdict counts readers, and these are streams.
  return filter === 'lagging' ? 'with lagging readers' : conditionTexts[filter].label;
}

function countStates(streams: readonly StreamRow[]): ReadonlyMap<StreamCondition | StateFilter, number> {
  const counts = new Map<StreamCondition | StateFilter, number>([['all', streams.length]]);
  const add = (state: StreamCondition | StateFilter): void =>
    void counts.set(state, (counts.get(state) ?? 0) + 1);
  for (const { condition, readers } of streams) {
    add(condition);
    if (readers.some(isLagging)) add('lagging');
  }
  return counts;
}

/** Where there is no room for column heads. */
function SortSelect({
  sorting,
  onSort,
}: {
  readonly sorting: Sorting;
  readonly onSort: (key: SortKey) => void;
}): JSX.Element {
  return (
    <label class="sort-select">
      Sort by{' '}
      <select value={sorting.key} onChange={({ currentTarget }) => onSort(currentTarget.value as SortKey)}>
        {columns.map(
          ({ key, title }) =>
            key !== 'credit' &&
            key !== 'policy' && (
              <option key={key} value={key}>
                {title}
              </option>
            ),
        )}
      </select>
    </label>
  );
}
