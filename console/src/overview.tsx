import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Charts } from './charts.tsx';
import type { Feed } from './feed.ts';
import { Figures } from './figures.tsx';
import { PressureChanges } from './pressure-changes.tsx';
import { StreamTable } from './stream-table.tsx';
import { useOverview } from './use-overview.ts';
import { judge, type Verdict } from './verdict.ts';

/** Counts change each second; nobody wants to hear that often. */
const announceEveryMs = 10_000;
const signs = { ok: '✓', warn: '!', bad: '✕' } as const;

/** For somebody on call who has ten seconds. */
export function Overview({
  feed,
  startedAtMs,
  onRefused,
}: {
  readonly feed: Feed;
  /** When the gateway started, in milliseconds since 1970. */
  readonly startedAtMs: number;
  readonly onRefused: () => void;
}): JSX.Element {
  const watched = useOverview(feed, onRefused);
  if (watched === undefined) return <p class="empty">Waiting for the gateway…</p>;
  const { history, overview } = watched;
  const verdict = judge(overview, history, startedAtMs);
  const { sentence } = verdict;
  return (
    <>
      <h1 class="visually-hidden">Overview</h1>
      <VerdictLine verdict={verdict} />
      <Announcement sentence={sentence} />
      <Figures overview={overview} history={history} />
      <Charts history={history} startedAtMs={startedAtMs} />
      <PressureChanges changes={overview.pressureChanges} />
      <StreamTable overview={overview} />
    </>
  );
}

/** What is wrong, each trouble with the way to it. */
function VerdictLine({ verdict: { level, sentence, troubles } }: { readonly verdict: Verdict }): JSX.Element {
  const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
  return (
    <div class="verdict" data-level={level}>
      <span class="sign" aria-hidden="true">
        {signs[level]}
      </span>
      {troubles.length === 0 ? (
        <p>{sentence}</p>
      ) : (
        <ul>
          {troubles.map(({ links, text }) => (
            <li key={text.replace(/\d+/g, '')}>
              {capital(text)}.
              {links.map((link) => (
                <a key={link.href} href={link.href}>
                  {link.text}
                </a>
              ))}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** Says the sentence to those who do not see it, when it has changed, and not all the time. */
function Announcement({ sentence }: { readonly sentence: string }): JSX.Element {
  const [said, setSaid] = useState(sentence);
  const saidAtMs = useRef(0);
  useEffect(() => {
    const say = (): void => {
      saidAtMs.current = performance.now();
      setSaid(sentence);
    };
    const timer = setTimeout(say, Math.max(0, saidAtMs.current + announceEveryMs - performance.now()));
    return () => clearTimeout(timer);
  }, [sentence]);
  return (
    <p class="visually-hidden" role="status">
      {said}
    </p>
  );
}
