import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type {
  EndedReader,
  ProviderRefusal,
  StreamDetail,
  StreamRow,
} from '../../packages/server/src/console/snapshot.ts';
import { ActionButton } from './action-button.tsx';
import { causeHints, causeTexts, stallsHref, whyOf } from './causes.ts';
import { type Feed, FeedError } from './feed.ts';
import { modelName } from './model-name.ts';
import { docHref, endedHref, streamHref } from './route.ts';
import { StateBadge } from './state-badge.tsx';
import { StreamEvents } from './stream-events.tsx';
import { openedAtMs, StreamMemory } from './stream-memory.ts';
import { Timeline } from './timeline.tsx';
import { bytesText, clockText, countText, durationText, placeText, plural } from './units.ts';

type Standing = 'live' | 'over' | 'unknown' | 'waiting';

/** One stream: who, how, its readers on one time axis, and what happened; while it runs and after its end. */
export function StreamPage({ id, feed }: { readonly id: string; readonly feed: Feed }): JSX.Element {
  const [detail, setDetail] = useState<StreamDetail>();
  const [standing, setStanding] = useState<Standing>('waiting');
  const [memory] = useState(() => new StreamMemory());

  useEffect(() => {
    const stop = new AbortController();
    const show = (shown: StreamDetail): void => {
      memory.add(shown);
      setDetail(shown);
    };
    const readStory = async (): Promise<void> => {
      try {
        const story = await feed.readJson<StreamDetail>(`ended/${encodeURIComponent(id)}`, stop.signal);
        // Looked for by the id of its request: its page is that of its own id.
        if (story.stream.id !== id) location.replace(streamHref(story.stream.id));
        show(story);
        setStanding('over');
      } catch (error) {
        if (!stop.signal.aborted) {
          setStanding(error instanceof FeedError && error.status !== 404 ? 'waiting' : 'unknown');
        }
      }
    };
    const unfollow = feed.followStream(id, {
      onSnapshot: (snapshot) => {
        show(snapshot);
        setStanding('live');
      },
      // The gateway knows it no more; it may remember how it was.
      onEnd: () => void readStory(),
    });
    return () => {
      stop.abort();
      unfollow();
    };
  }, [feed, id]);

  if (detail === undefined) {
    return (
      <>
        <Crumbs />
        <h1 class="mono">{id}</h1>
        <p role="status">
          {standing === 'unknown'
            ? 'The gateway has no such stream: it ended some time ago, or there never was one.'
            : 'Waiting for the gateway…'}
        </p>
      </>
    );
  }
  const { stream } = detail;
  return (
    <>
      <Crumbs isOver={stream.endedAtMs !== null} />
      <div class="title">
        <h1>
          {modelName(stream) || 'no model named'} <span class="light">for</span>{' '}
          {stream.client.agent || 'an unnamed client'}
        </h1>
        <StateBadge condition={stream.condition} />
        {standing === 'over' && <span class="sub">remembered</span>}
        {stream.endedAtMs === null && (
          <ActionButton
            label="Cancel the stream"
            question="Cancel this stream?"
            act={() => feed.act(`streams/${encodeURIComponent(id)}/cancel`)}
          >
            Its model is stopped, and what it has made is paid. All its readers get the error{' '}
            <code>cancelled</code>, and nothing of it can be read any more.
          </ActionButton>
        )}
      </div>
      <p class="explain" role="status">
        {explain(stream)} <Advice stream={stream} />
      </p>
      {detail.refusal !== null && <Refusal refusal={detail.refusal} />}
      <Facts stream={stream} />
      {(stream.readers.length > 0 || standing === 'live') && (
        <Timeline detail={detail} memory={memory} feed={feed} />
      )}
      <EndedReaders isRefused={detail.refusal !== null} readers={detail.endedReaders} />
      <StreamEvents events={memory.events} openedAtMs={openedAtMs(detail)} />
    </>
  );
}

function Crumbs({ isOver = false }: { readonly isOver?: boolean }): JSX.Element {
  return <p class="crumbs">{isOver ? <a href={endedHref()}>Ended streams</a> : <a href="#/">Overview</a>}</p>;
}

/** In words, what the figures say. */
function explain({ condition, readers, reason, stallCause, waitPosition }: StreamRow): string {
  if (waitPosition !== null)
    return `No place is free: the request waits for one, ${placeText(waitPosition)}.`;
  switch (condition) {
    case 'waiting':
      return 'The provider is not asked yet.';
    case 'opening':
      return 'The provider has not answered yet.';
    case 'draining':
      return 'The model is done. A reader still needs the rest of what it made.';
    case 'completed':
      return 'The stream is over: all of it came, with the provider’s own end.';
    case 'failed':
      return `The stream is over: it failed. ${reason ?? ''}`;
    case 'cancelled':
      return `The stream is over: it was cancelled, and the model was stopped. ${reason ?? ''}`;
  }
  if (stallCause === 'tap') return 'The model is made to wait for a tap that may lose nothing and lags.';
  if (stallCause !== null) {
    return `The model is made to wait: ${causeTexts[stallCause].one}, which means of its slowest reader that ${causeHints[stallCause]}.`;
  }
  const gated = readers.some((reader) => reader.waitsFor === 'tap' && whyOf(reader) !== undefined);
  if (gated) return 'Readers wait for a tap, which has not kept yet what they would get; the model goes on.';
  const behind = readers.filter(({ lagBytes, maxLagBytes }) => lagBytes * 2 > maxLagBytes).length;
  if (readers.length === 0) return 'Nobody reads it at the moment.';
  if (behind === 0) return 'Every reader keeps up.';
  return `${behind === 1 ? 'One reader is' : `${behind} readers are`} more than half of what may wait behind; the model goes on.`;
}

function Advice({ stream: { code, stallCause } }: { readonly stream: StreamRow }): JSX.Element | null {
  if (code !== null) return <a href={docHref('errors', code)}>What {code} means</a>;
  return stallCause === null ? null : <a href={stallsHref}>What to do</a>;
}

function Refusal({ refusal }: { readonly refusal: ProviderRefusal }): JSX.Element {
  const { code, message, status, type } = refusal;
  const names = [...new Set([code, type])].filter((name) => name !== '').join(', ');
  return (
    <section class="panel refusal" aria-labelledby="refusal-heading">
      <h2 id="refusal-heading">The provider’s answer</h2>
      <p>
        Status <b>{status}</b>
        {names !== '' && (
          <>
            , <code>{names}</code>
          </>
        )}
        {message === '' ? '.' : `: ${message}`}
      </p>
      {message === '' && (
        <p class="sub">Its words are not kept: at this status they may quote the request.</p>
      )}
    </section>
  );
}

function Facts({ stream }: { readonly stream: StreamRow }): JSX.Element {
  const { ageMs, api, bytes, client, endedAtMs, heldBytes, id, provider, stallMs, stalls, tokens, ttftMs } =
    stream;
  const facts: readonly (readonly [string, string])[] = [
    ['Tokens', `${countText(tokens)} (${bytesText(bytes)})`],
    [endedAtMs === null ? 'Age' : 'Lasted', durationText(ageMs)],
    ...(endedAtMs === null ? [] : ([['Ended', clockText(endedAtMs)]] as const)),
    [
      'First token after',
      ttftMs === null ? (endedAtMs === null ? 'not yet' : 'never') : durationText(ttftMs),
    ],
    ...(endedAtMs !== null && heldBytes === 0
      ? []
      : ([['Held', `${bytesText(heldBytes)} of ${bytesText(stream.windowBytes)}`]] as const)),
    [
      'Made to wait',
      stalls === 0
        ? 'never'
        : `${stalls === 1 ? 'once' : `${countText(stalls)} times`}, ${durationText(stallMs)}`,
    ],
    ['Address', client.address],
    ['Key', client.caller === '' ? 'none' : client.caller],
    ['Provider', `${provider} (${api})`],
    ...(stream.gaveWay.length === 0 ? [] : ([['Gave way', stream.gaveWay.join(', ')]] as const)),
    ['Stream', id],
    ...(stream.requestId === null ? [] : ([['Request', stream.requestId]] as const)),
    ...(stream.upstreamRequestId === null
      ? []
      : ([['Provider’s request', stream.upstreamRequestId]] as const)),
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

const endTexts: Readonly<Record<EndedReader['reason'], string>> = {
  delivered: 'got everything',
  failed: 'got an error',
  left: 'left',
  stalled: 'took too little',
};

/** Readers that are gone, and why. `isRefused`: what they got is what the provider said instead of an answer. */
function EndedReaders({
  isRefused,
  readers,
}: {
  readonly isRefused: boolean;
  readonly readers: readonly EndedReader[];
}): JSX.Element | null {
  if (readers.length === 0) return null;
  return (
    <section class="panel events" aria-labelledby="gone-heading">
      <h2 id="gone-heading">Readers that are gone</h2>
      <ul class="gone">
        {readers.toReversed().map((reader) => (
          <li key={reader.number}>
            <b>Reader {reader.number}</b> {reader.via}, {reader.policy}
            {reader.address !== '' && `, ${reader.address}`}
            <span class="sub"> at {clockText(reader.atMs)}</span>
            <div>
              {isRefused && reader.reason === 'delivered'
                ? 'got what the provider said instead'
                : endTexts[reader.reason]}
              {reader.error !== null && (
                <>
                  : <a href={docHref('errors', reader.error.code)}>{reader.error.code}</a>.{' '}
                  {reader.error.message}
                </>
              )}
            </div>
            <div class="sub">
              {plural(reader.tokens, 'token')}
              {reader.mergedEvents > 0 && `, ${countText(reader.mergedEvents)} merged`}
              {reader.gaps > 0 &&
                `, ${plural(reader.gaps, 'gap')}, ${plural(reader.lostTokens, 'token')} lost`}
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
