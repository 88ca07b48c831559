import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { EndedFacet, EndedPage as Page, StreamRow } from '../../packages/server/src/console/snapshot.ts';
import { conditionTexts, endStates } from './conditions.ts';
import type { Feed } from './feed.ts';
import { modelName } from './model-name.ts';
import { docHref, type EndedFilter, endedHref, streamHref } from './route.ts';
import { StateBadge } from './state-badge.tsx';
import { clockText, countText, durationText, plural } from './units.ts';

const refreshEveryMs = 3000;
const pageStreams = 50;
const maxStreams = 200;

const facetTexts: Readonly<Record<Exclude<EndedFacet, 'state'>, string>> = {
  code: 'Error',
  provider: 'Provider',
  model: 'Model',
  key: 'Key',
};

/** Streams that have ended, the newest first, and those that failed or were cancelled with their reason. */
export function EndedPage({
  feed,
  filter,
}: {
  readonly feed: Feed;
  readonly filter: EndedFilter;
}): JSX.Element {
  const [page, setPage] = useState<Page>();
  const [problem, setProblem] = useState('');
  const [limit, setLimit] = useState(pageStreams);
  const query = new URLSearchParams({ ...filter, limit: String(limit) }).toString();

  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      try {
        // Nobody looks at a hidden tab, and who reads further down is not to lose the place.
        if (!document.hidden) setPage(await feed.readJson<Page>(`ended?${query}`, stop.signal));
        setProblem('');
      } catch (error) {
        if (stop.signal.aborted) return;
        setProblem(error instanceof Error ? error.message : String(error));
      }
      if (!stop.signal.aborted) timer = setTimeout(() => void read(), refreshEveryMs);
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [feed, query]);

  return (
    <>
      <h1>Ended streams</h1>
      <p class="explain">
        Those that can still be read, and the latest 500 of the others. Nothing of a prompt or an answer is
        kept with them.
      </p>
      <Finder />
      <p role="alert" class="problem">
        {problem}
      </p>
      {page === undefined ? (
        <p class="empty">Waiting for the gateway…</p>
      ) : (
        <section class="panel ended" aria-label="Ended streams">
          <Filters page={page} filter={filter} />
          <EndedTable streams={page.streams} />
          {page.streams.length === 0 && <p class="empty">No stream ended like that.</p>}
          {page.next !== null && (
            <p class="more">
              The newest {countText(page.streams.length)} of {countText(page.found)}.{' '}
              {limit < maxStreams && (
                <button type="button" class="plain" onClick={() => setLimit(maxStreams)}>
                  Show {maxStreams}
                </button>
              )}
            </p>
          )}
        </section>
      )}
    </>
  );
}

/** Leads to a stream by an id that somebody was given: in an answer's header, an error or a line of the log. */
function Finder(): JSX.Element {
  const find = (event: Event): void => {
    event.preventDefault();
    const id = new FormData(event.currentTarget as HTMLFormElement).get('id');
    if (typeof id === 'string' && id.trim() !== '') location.hash = streamHref(id.trim()).slice(1);
  };
  return (
    <form class="toolbar finder" role="search" onSubmit={find}>
      <label class="facet">
        Request or stream{' '}
        <input
          type="search"
          name="id"
          class="mono"
          autocomplete="off"
          spellcheck={false}
          placeholder="its id"
          size={38}
        />
      </label>
      <button type="submit" class="plain">
        Find
      </button>
    </form>
  );
}

function Filters({ filter, page }: { readonly filter: EndedFilter; readonly page: Page }): JSX.Element {
  const { state, ...others } = filter;
  const { counts, found } = page;
  const all = Object.values(counts.state).reduce((sum, count) => sum + count, 0);
  const chip = (value: (typeof endStates)[number] | undefined): JSX.Element => (
    <a
      key={value}
      class="chip"
      href={endedHref(value === undefined ? others : { ...others, state: value })}
      aria-current={state === value ? 'true' : undefined}
    >
      {value ?? 'all'} <small>{countText(value === undefined ? all : (counts.state[value] ?? 0))}</small>
    </a>
  );
  const set = (facet: EndedFacet, value: string): void => {
    const { [facet]: _, ...rest } = filter;
    location.hash = endedHref(value === '*' ? rest : { ...rest, [facet]: value }).slice(1);
  };
  return (
    <div class="toolbar">
      <div class="chips" role="group" aria-label="Filter by end">
        {chip(undefined)}
        {endStates.map(chip)}
      </div>
      {(Object.keys(facetTexts) as (keyof typeof facetTexts)[]).map((facet) => (
        <label key={facet} class="facet">
          {facetTexts[facet]}{' '}
          <select
            value={filter[facet] ?? '*'}
            onChange={({ currentTarget }) => set(facet, currentTarget.value)}
          >
            <option value="*">any</option>
            {optionsOf(counts[facet], filter[facet]).map(([value, count]) => (
              <option key={value} value={value}>
                {value === '' ? 'none' : value} ({countText(count)})
              </option>
            ))}
          </select>
        </label>
      ))}
      <p class="count">{plural(found, 'stream')}</p>
    </div>
  );
}

/** The most frequent first; what is chosen is there, also if nothing is like that. */
function optionsOf(
  counts: Readonly<Record<string, number>>,
  chosen: string | undefined,
): readonly (readonly [string, number])[] {
  const options = Object.entries(counts).toSorted(([, a], [, b]) => b - a);
  return chosen === undefined || chosen in counts ? options : [[chosen, 0], ...options];
}

function EndedTable({ streams }: { readonly streams: readonly StreamRow[] }): JSX.Element {
  return (
    <table class="ended-table">
      <thead>
        <tr>
          <th scope="col">Ended</th>
          <th scope="col">How</th>
          <th scope="col">Client</th>
          <th scope="col">Model</th>
          <th scope="col" class="number">
            Lasted
          </th>
          <th scope="col" class="number">
            Tokens
          </th>
        </tr>
      </thead>
      <tbody>
        {streams.map((stream) => (
          <EndedRow key={stream.id} stream={stream} />
        ))}
      </tbody>
    </table>
  );
}

function EndedRow({ stream }: { readonly stream: StreamRow }): JSX.Element {
  const { ageMs, client, code, condition, endedAtMs, id, provider, reason, tokens } = stream;
  return (
    <tr>
      <td class="when">
        <a
          href={streamHref(id)}
          aria-label={`${clockText(endedAtMs ?? 0)}: ${conditionTexts[condition].label}`}
        >
          {clockText(endedAtMs ?? 0)}
        </a>
      </td>
      <td class="how">
        <StateBadge condition={condition} />
        {code !== null && (
          <>
            {' '}
            <a class="code" href={docHref('errors', code)}>
              {code}
            </a>
            <div class="sub">{reason}</div>
          </>
        )}
      </td>
      <td>
        {client.agent || 'unnamed client'}
        <div class="sub">
          {client.address}
          {client.caller !== '' && ` · ${client.caller}`}
        </div>
      </td>
      <td>
        {modelName(stream) || '–'}
        <div class="sub">{provider}</div>
      </td>
      <td class="number">{durationText(ageMs)}</td>
      <td class="number">{countText(tokens)}</td>
    </tr>
  );
}
