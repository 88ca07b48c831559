import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { StreamDetail, StreamEvent, StreamRow } from '../../packages/server/src/console/snapshot.ts';
import { causeHints, causeTexts } from './causes.ts';
import type { Feed, FeedEnd } from './feed.ts';
import { modelName } from './model-name.ts';
import { StateBadge } from './state-badge.tsx';
import { StreamMemory } from './stream-memory.ts';
import { Timeline } from './timeline.tsx';
import { eventTexts } from './reader-lane.tsx';
import { bytesText, clockText, countText, durationText, plural } from './units.ts';

/** One stream: who, how, its readers on one time axis, and what happened. */
export function StreamPage({ id, feed }: { readonly id: string; readonly feed: Feed }): JSX.Element {
  const [detail, setDetail] = useState<StreamDetail>();
  const [end, setEnd] = useState<FeedEnd>();
  const [memory] = useState(() => new StreamMemory());

  useEffect(
    () =>
      feed.followStream(id, {
        onSnapshot: (snapshot) => {
          memory.add(snapshot);
          setDetail(snapshot);
        },
        onEnd: setEnd,
      }),
    [feed, id],
  );

  if (detail === undefined) {
    return (
      <>
        <p class="crumbs">
          <a href="#/">Overview</a>
        </p>
        <h1 class="mono">{id}</h1>
        <p role="status">
          {end === undefined
            ? 'Waiting for the gateway…'
            : 'The gateway has no such stream: it ended some time ago, or there never was one.'}
        </p>
      </>
    );
  }
  const { stream } = detail;
  return (
    <>
      <p class="crumbs">
        <a href="#/">Overview</a>
      </p>
      <div class="title">
        <h1>
          {modelName(stream) || 'no model named'} <span class="light">for</span>{' '}
          {stream.client.agent || 'an unnamed client'}
        </h1>
        <StateBadge condition={stream.condition} />
        {end !== undefined && <span class="sub">no longer live</span>}
      </div>
      <p class="explain" role="status">
        {explain(stream)}
      </p>
      <Facts stream={stream} />
      <Timeline detail={detail} memory={memory} />
      <Events events={memory.events} openedAtMs={detail.atMs - stream.ageMs} />
    </>
  );
}

/** In words, what the figures say. */
function explain({ code, condition, readers, stallCause }: StreamRow): string {
  switch (condition) {
    case 'waiting':
      return 'The gateway is full: the request waits for a free place.';
    case 'opening':
      return 'The provider has not answered yet.';
    case 'completed':
      return 'The stream is over: all of it came, with the provider’s own end.';
    case 'failed':
      return `The stream is over: it failed${code === null ? '' : ` with ${code}`}.`;
    case 'cancelled':
      return `The stream is over: it was cancelled${code === null ? '' : ` (${code})`}, and the model was stopped.`;
  }
  if (stallCause !== null) {
    return `The model is made to wait: ${causeTexts[stallCause].one}, which means of its slowest reader that ${causeHints[stallCause]}.`;
  }
  const behind = readers.filter(({ lagBytes, maxLagBytes }) => lagBytes * 2 > maxLagBytes).length;
  if (readers.length === 0) return 'Nobody reads it at the moment.';
  if (behind === 0) return 'Every reader keeps up.';
  return `${behind === 1 ? 'One reader is' : `${behind} readers are`} more than half of what may wait behind; the model goes on.`;
}

function Facts({ stream }: { readonly stream: StreamRow }): JSX.Element {
  const { ageMs, api, bytes, client, heldBytes, id, provider, stallMs, stalls, tokens, ttftMs, windowBytes } =
    stream;
  const facts: readonly (readonly [string, string])[] = [
    ['Tokens', `${countText(tokens)} (${bytesText(bytes)})`],
    ['Age', durationText(ageMs)],
    ['First token after', ttftMs === null ? 'not yet' : durationText(ttftMs)],
    ['Held', `${bytesText(heldBytes)} of ${bytesText(windowBytes)}`],
    [
      'Made to wait',
      stalls === 0
        ? 'never'
        : `${stalls === 1 ? 'once' : `${countText(stalls)} times`}, ${durationText(stallMs)}`,
    ],
    ['Address', client.address],
    ['Caller', client.caller === '' ? 'without a key' : client.caller],
    ['Provider', `${provider} (${api})`],
    ['Stream', id],
  ];
  return (
    <dl class="facts panel">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Events({
  events,
  openedAtMs,
}: {
  readonly events: readonly StreamEvent[];
  readonly openedAtMs: number;
}): JSX.Element {
  return (
    <section class="panel events" aria-labelledby="events-heading">
      <h2 id="events-heading">What happened</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col" class="number">
              After
            </th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
          </tr>
        </thead>
        <tbody>
          {folded(events).map(({ count, event }, at) => (
            <tr key={events.length - at}>
              <td>{clockText(event.atMs)}</td>
              <td class="number">{durationText(Math.max(0, event.atMs - openedAtMs))}</td>
              <td>{event.reader === null ? 'stream' : `reader ${event.reader}`}</td>
              <td>
                {count === 1
                  ? eventTexts[event.type]
                  : `${plural(count, eventTexts[event.type])}, the latest`}
                {event.detail !== '' && <span class="detail">{event.detail}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The latest first; gaps of one reader that follow each other are one line. */
function folded(
  events: readonly StreamEvent[],
): readonly { readonly event: StreamEvent; readonly count: number }[] {
  const lines: { readonly event: StreamEvent; count: number }[] = [];
  for (const event of events.toReversed()) {
    const last = lines.at(-1);
    if (event.type === 'gap' && last?.event.type === 'gap' && last.event.reader === event.reader)
      last.count += 1;
    else lines.push({ event, count: 1 });
  }
  return lines;
}
