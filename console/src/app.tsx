import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { About } from '../../packages/server/src/console/snapshot.ts';
import { CallsPage } from './calls/calls-page.tsx';
import { DocsPage } from './docs-page.tsx';
import { EndedPage } from './ended-page.tsx';
import { type Feed, type Freshness, openFeed, readAbout, takesKey } from './feed.ts';
import { GatewayPage } from './gateway-page.tsx';
import { KeyForm } from './key-form.tsx';
import { Overview } from './overview.tsx';
import { Playground } from './playground/playground.tsx';
import { ProvidersPage } from './providers-page.tsx';
import { type Route, useRoute } from './route.ts';
import { StreamPage } from './stream-page.tsx';
import { TapsPage } from './taps-page.tsx';
import { TenantsPage } from './tenants-page.tsx';
import { clockText } from './units.ts';

const keyName = 'spillway-key';
const retryMs = 2000;
const titles = {
  overview: 'Overview',
  ended: 'Ended',
  providers: 'Providers',
  taps: 'Taps',
  tenants: 'Tenants',
  calls: 'Calls',
  playground: 'Playground',
  gateway: 'Gateway',
  stream: 'Stream',
  docs: 'Help',
} as const;
const views = [
  'overview',
  'ended',
  'providers',
  'taps',
  'tenants',
  'calls',
  'playground',
  'gateway',
] as const;

export function App(): JSX.Element {
  const about = useAbout();
  const [key, setKey] = useState(() => sessionStorage.getItem(keyName) ?? '');
  const [wasRefused, setRefused] = useState(false);
  const [freshness, setFreshness] = useState<Freshness>('idle');
  const [feed, setFeed] = useState<Feed>();
  const route = useRoute();

  const needsKey = about?.needsKey === true && key === '';
  useEffect(() => {
    if (about === undefined || needsKey) return undefined;
    const opened = openFeed(about.needsKey ? key : '', setFreshness);
    setFeed(opened);
    return () => {
      opened.close();
      setFeed(undefined);
    };
  }, [about, needsKey, key]);
  useEffect(() => {
    document.title = `${titles[route.view]} · Spillway`;
  }, [route.view]);

  const onRefused = (): void => {
    sessionStorage.removeItem(keyName);
    setRefused(key !== '');
    setKey('');
  };
  const onKey = (given: string): void => {
    const take = (isTaken: boolean): void => {
      setRefused(!isTaken);
      if (!isTaken) return;
      sessionStorage.setItem(keyName, given);
      setKey(given);
    };
    takesKey(given).then(take, () => setFreshness('lost'));
  };
  return (
    <>
      <a class="skip" href="#main" onClick={skipToMain}>
        Skip to content
      </a>
      <Header about={about} freshness={freshness} view={route.view} />
      <LostBanner isLost={freshness === 'lost'} />
      {about?.isSimulated === true && (
        <p class="banner simulated">
          Simulated models: every answer is made up, and no provider is asked. To serve real ones, start the
          gateway with <code>--upstream</code>.
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {about === undefined ? (
          <p class="empty">Looking for the gateway…</p>
        ) : needsKey ? (
          <KeyForm wasRefused={wasRefused} onKey={onKey} />
        ) : feed === undefined ? null : (
          <View route={route} about={about} feed={feed} isLost={freshness === 'lost'} onRefused={onRefused} />
        )}
      </main>
    </>
  );
}

function View({
  route,
  about,
  feed,
  isLost,
  onRefused,
}: {
  readonly route: Route;
  readonly about: About;
  readonly feed: Feed;
  readonly isLost: boolean;
  readonly onRefused: () => void;
}): JSX.Element {
  switch (route.view) {
    case 'overview':
      return <Overview feed={feed} startedAtMs={about.startedAtMs} onRefused={onRefused} />;
    case 'ended':
      return <EndedPage feed={feed} filter={route.filter} />;
    case 'providers':
      return <ProvidersPage feed={feed} onRefused={onRefused} />;
    case 'taps':
      return <TapsPage feed={feed} onRefused={onRefused} />;
    case 'tenants':
      return <TenantsPage feed={feed} onRefused={onRefused} />;
    case 'calls':
      return <CallsPage feed={feed} isLost={isLost} onRefused={onRefused} />;
    case 'playground':
      return <Playground feed={feed} about={about} />;
    case 'gateway':
      return <GatewayPage feed={feed} about={about} />;
    case 'docs':
      return <DocsPage doc={route.doc} section={route.section} />;
    case 'stream':
      return <StreamPage key={route.id} id={route.id} feed={feed} />;
    default:
      return route satisfies never;
  }
}

function Header({
  about,
  freshness,
  view,
}: {
  readonly about: About | undefined;
  readonly freshness: Freshness;
  readonly view: keyof typeof titles;
}): JSX.Element {
  const texts = { connecting: 'connecting', idle: '', live: 'live', lost: 'not connected' } as const;
  return (
    <header class="top">
      <a class="brand" href="#/">
        <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
          <rect width="24" height="24" rx="6" />
          <path d="M4 8h7c4 0 3 8 9 8M4 12h5c3 0 2.500 6 7 6.600M4 16h3.500c1.400 0 1.600 1.800 2.700 2.700" />
        </svg>
        Spillway
      </a>
      <nav aria-label="Views">
        {views.map((name) => (
          <a
            key={name}
            href={name === 'overview' ? '#/' : `#/${name}`}
            aria-current={view === name ? 'page' : undefined}
          >
            {titles[name]}
          </a>
        ))}
      </nav>
      <p class="about">
        {about !== undefined && (
          <span class="gateway">
            {about.gatewayUrl.replace(/^https?:\/\//, '')} · {about.version}
          </span>
        )}
        {freshness !== 'idle' && (
          <span class="freshness" data-freshness={freshness}>
            {texts[freshness]}
          </span>
        )}
      </p>
    </header>
  );
}

function LostBanner({ isLost }: { readonly isLost: boolean }): JSX.Element {
  const [sinceMs, setSinceMs] = useState(0);
  useEffect(() => {
    if (isLost) setSinceMs(Date.now());
  }, [isLost]);
  return (
    <div role="alert">
      {isLost && sinceMs > 0 && (
        <p class="banner">
          No word from the gateway since {clockText(sinceMs)}. What is shown is from then; the page tries
          again by itself.
        </p>
      )}
    </div>
  );
}

function useAbout(): About | undefined {
  const [about, setAbout] = useState<About>();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = (): void => {
      readAbout().then(setAbout, () => {
        timer = setTimeout(ask, retryMs);
      });
    };
    ask();
    return () => clearTimeout(timer);
  }, []);
  return about;
}

/** The address has the view, so that a skip must not change it. */
function skipToMain(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
