import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { About, GatewayFacts, Overview, Setting } from '../../packages/server/src/console/snapshot.ts';
import { ActionButton } from './action-button.tsx';
import type { Feed } from './feed.ts';
import { docHref } from './route.ts';
import { clockText, durationText, plural } from './units.ts';

/** This gateway: what runs, with which settings, and whether it takes new streams. */
export function GatewayPage({ about, feed }: { readonly about: About; readonly feed: Feed }): JSX.Element {
  const [facts, setFacts] = useState<GatewayFacts>();
  const [overview, setOverview] = useState<Overview>();
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const stop = new AbortController();
    feed.readJson<GatewayFacts>('gateway', stop.signal).then(setFacts, (error: unknown) => {
      if (!stop.signal.aborted) setProblem(error instanceof Error ? error.message : String(error));
    });
    const unfollow = feed.followOverview({ onSnapshot: setOverview, onEnd: () => undefined });
    return () => {
      stop.abort();
      unfollow();
    };
  }, [feed]);

  const nowMs = overview?.totals.atMs ?? about.startedAtMs;
  const values: readonly (readonly [string, string])[] = [
    ['Version', about.version],
    ['Running for', overview === undefined ? '–' : durationText(Math.max(0, nowMs - about.startedAtMs))],
    ['Started', new Date(about.startedAtMs).toLocaleString('en-GB')],
    ['Clients’ address', about.gatewayUrl],
    ['Host', facts?.host ?? '–'],
    ['Process', facts === undefined ? '–' : String(facts.pid)],
    ['Node', facts === undefined ? '–' : `${facts.node}, ${facts.platform}`],
    ['Models', about.isSimulated ? 'simulated' : 'of the providers below'],
  ];
  return (
    <>
      <h1>This gateway</h1>
      <p role="alert" class="problem">
        {problem}
      </p>
      <dl class="facts panel">
        {values.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <DrainPanel overview={overview} feed={feed} />
      <Settings settings={facts?.settings} />
    </>
  );
}

function DrainPanel({
  overview,
  feed,
}: {
  readonly overview: Overview | undefined;
  readonly feed: Feed;
}): JSX.Element {
  const closedAtMs = overview?.totals.intakeClosedAtMs ?? null;
  return (
    <section class="panel drain" aria-labelledby="drain-heading">
      <h2 id="drain-heading">New streams</h2>
      {overview === undefined ? (
        <p>Waiting for the gateway…</p>
      ) : closedAtMs === null ? (
        <>
          <p>
            The gateway takes new streams. Drained, it takes none and is not ready, so that a balancer sends
            clients elsewhere. Streams that run go on, and the process does not end by itself.
          </p>
          <ActionButton label="Drain" question="Drain this gateway?" act={() => feed.act('drain')}>
            New requests get 503 until somebody takes it back here, or the process is started again. The{' '}
            {plural(overview.openStreams, 'open stream')} may finish.
          </ActionButton>
        </>
      ) : (
        <>
          <p>
            Drained since {clockText(closedAtMs)}: new requests get 503, and{' '}
            {overview.openStreams === 0
              ? 'no stream is open any more. The process can be stopped.'
              : `${plural(overview.openStreams, 'stream')} may finish.`}
          </p>
          <ActionButton
            label="Take new streams again"
            question="Take new streams again?"
            isDangerous={false}
            act={() => feed.act('drain/end')}
          >
            The gateway is ready again, and clients may come.
          </ActionButton>
        </>
      )}
    </section>
  );
}

function Settings({ settings }: { readonly settings: readonly Setting[] | undefined }): JSX.Element | null {
  const [isAll, setAll] = useState(false);
  if (settings === undefined) return null;
  const changed = settings.filter(({ from }) => from !== 'default');
  const shown = isAll ? settings : changed;
  return (
    <section class="panel settings-panel" aria-labelledby="settings-heading">
      <div class="toolbar bare">
        <h2 id="settings-heading">Settings</h2>
        <div class="chips" role="group" aria-label="Which settings">
          <button type="button" aria-pressed={!isAll} onClick={() => setAll(false)}>
            set <small>{changed.length}</small>
          </button>
          <button type="button" aria-pressed={isAll} onClick={() => setAll(true)}>
            all <small>{settings.length}</small>
          </button>
        </div>
        <a class="count" href={docHref('operating')}>
          What they mean for operations
        </a>
      </div>
      {shown.length === 0 && <p class="sub">All settings have their defaults.</p>}
      <dl>
        {shown.map(({ description, from, key, value }) => (
          <div key={key} data-from={from}>
            <dt>
              <code>{key}</code>
              <span class="sub">{description}</span>
            </dt>
            <dd>
              <span class="value">{value === '' ? '–' : value}</span>
              <span class="sub">{from}</span>
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
