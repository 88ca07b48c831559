import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { TapRow, TapSample, Totals } from '../../packages/server/src/console/snapshot.ts';
import { Chart } from './chart.tsx';
import type { Feed } from './feed.ts';
import { Hint } from './hint.tsx';
import { rates } from './history.ts';
import { narrowQuery } from './media.ts';
import { Meter } from './meter.tsx';
import { docHref } from './route.ts';
import { bytesText, clockText, countText, durationText, plural, rateText } from './units.ts';
import { useOverview } from './use-overview.ts';
import { isGroupLate, maxTapLagMs } from './verdict.ts';

/** Where streams are written down: whether that works, how far behind each place is, and what it has. */
export function TapsPage({
  feed,
  onRefused,
}: {
  readonly feed: Feed;
  readonly onRefused: () => void;
}): JSX.Element {
  const watched = useOverview(feed, onRefused);
  if (watched === undefined) return <p class="empty">Waiting for the gateway…</p>;
  const { history, overview } = watched;
  return (
    <>
      <h1>Taps</h1>
      {overview.taps.length === 0 ? (
        <p class="explain">
          None: no stream is written down anywhere. A tap keeps them in an audit log or a file, with a line of
          configuration: <code>--tap name=audit,to=sqlite:audit.db,gate=true</code>.{' '}
          <a href={docHref('operating', 'taps')}>What is seen of taps</a>
        </p>
      ) : (
        overview.taps.map((tap) => <TapPanel key={tap.name} tap={tap} history={history} />)
      )}
    </>
  );
}

function TapPanel({
  tap,
  history,
}: {
  readonly tap: TapRow;
  readonly history: readonly Totals[];
}): JSX.Element {
  const { isShedding, isUp, name, problem, sinceMs, spill, to } = tap;
  const trouble = troubleOf(tap);
  const id = `tap-${name}`;
  return (
    <section class="panel tap" aria-labelledby={id}>
      <div class="title">
        <h2 id={id}>{name}</h2>
        <span class="state" data-state={isUp ? 'completed' : 'failed'}>
          <span aria-hidden="true">{isUp ? '●' : '✕'}</span> {isUp ? 'up' : 'down'} since {sinceText(sinceMs)}
        </span>
        {spill?.isEngineUp === false && (
          <span class="late">its target takes nothing, and its disk is written instead</span>
        )}
        {isShedding && <span class="sub">leaves parts out, because it lags</span>}
        {trouble !== undefined && <a href={trouble}>What to do</a>}
      </div>
      <p class="sub mono">{to}</p>
      {problem !== null && <p class="late">{problem}</p>}
      <dl class="facts">
        {factsOf(tap).map(({ detail, hint, label, level = 'ok', value }) => (
          <div key={label} data-level={level}>
            <dt>
              <Hint text={hint}>{label}</Hint>
            </dt>
            <dd>
              {value}
              {detail !== undefined && <span class="sub">{detail}</span>}
            </dd>
          </div>
        ))}
      </dl>
      <Facts tap={tap} />
      <Groups tap={tap} />
      <Spill tap={tap} />
      <Head tap={tap} />
      <TapCharts name={name} history={history} />
    </section>
  );
}

/** Where the runbook has what is wrong; `undefined`: nothing is. */
function troubleOf({ deadLetters, groups, isUp, lag, spill }: TapRow): string | undefined {
  if (!isUp) return docHref('runbook', 'spillwaytapdown');
  if (spill?.isEngineUp === false) return docHref('runbook', 'spillwaytapspilling');
  if (lag.ms > maxTapLagMs) return docHref('runbook', 'spillwaytaplagging');
  if (deadLetters !== null && deadLetters.records > 0) return docHref('runbook', 'spillwaytapdeadletters');
  return groups.some(isGroupLate) ? docHref('runbook', 'spillwaytapgrouplagging') : undefined;
}

interface Fact {
  readonly label: string;
  readonly hint: string;
  readonly value: string;
  readonly detail?: string;
  readonly level?: 'bad' | 'ok' | 'warn';
}

function factsOf(tap: TapRow): readonly Fact[] {
  const {
    bytes,
    content,
    deadLetters,
    durability,
    failures,
    gate,
    lag,
    lost,
    overflow,
    records,
    redacted,
    waitedMs,
    writes,
  } = tap;
  return [
    {
      label: 'Waits',
      hint: 'What has come and is not kept yet: how long the oldest of it has waited, and how much it is.',
      value: lag.records === 0 ? 'nothing' : durationText(lag.ms),
      detail: `${plural(lag.records, 'record')}, ${bytesText(lag.bytes)}`,
      level: lag.ms > maxTapLagMs ? 'bad' : 'ok',
    },
    {
      label: 'Kept',
      hint: 'Records that it has kept since the gateway started.',
      value: plural(records, 'record'),
      detail: bytesText(bytes),
    },
    {
      label: 'Until it is kept',
      hint: 'How long the oldest record of a write waited until it was kept, the mean of all writes. With a gate, readers wait as long.',
      value: writes === 0 ? '–' : durationText(waitedMs / writes),
    },
    {
      label: 'Lost',
      hint: 'Chunks, and ends of readers, that it has not kept. Its records of gaps say which.',
      value: lost === 0 ? 'nothing' : countText(lost),
      level: lost === 0 ? 'ok' : 'bad',
    },
    {
      label: 'Writes that failed',
      hint: 'A write that failed is tried again, once a second.',
      value: failures === 0 ? 'none' : `${countText(failures)} of ${countText(writes + failures)}`,
    },
    {
      label: 'Readers',
      hint: 'Whether readers get only what this tap has kept.',
      value: gate ? 'wait for it (gate)' : 'do not wait for it',
    },
    {
      label: 'When it lags',
      hint: 'coalesce merges what waits, and then the model waits. block lets the model wait. Policies that drop lose chunks.',
      value: overflow,
    },
    {
      label: 'What is kept',
      hint: 'full: the provider’s events. text: the words in them. usage: who asked, how it ended, and its tokens.',
      value: content,
    },
    {
      label: 'A kept record is',
      hint: 'fsync: it is on a disk. replicated: it is in the memory of several machines. memory: it may be lost in a crash.',
      value: durability === null ? 'not known yet' : grades[durability],
    },
    ...(deadLetters === null
      ? []
      : [
          {
            label: 'Dead letters',
            hint: `Records that the engine refused for ever. They are in ${deadLetters.path}, and nothing waits behind them.`,
            value: deadLetters.records === 0 ? 'none' : plural(deadLetters.records, 'record'),
            detail: `${bytesText(deadLetters.bytes)} of ${bytesText(deadLetters.maxBytes)}`,
            level: deadLetters.records === 0 ? ('ok' as const) : ('bad' as const),
          },
        ]),
    ...(redacted === 0
      ? []
      : [
          {
            label: 'Replaced',
            hint: 'Places in content that were replaced before they were kept.',
            value: countText(redacted),
          },
        ]),
  ];
}

const grades = {
  fsync: 'on a disk (fsync)',
  memory: 'in memory',
  replicated: 'in the memory of several machines (replicated)',
} as const;

/** What the engine says of itself. */
function Facts({ tap: { facts, forgotten } }: { readonly tap: TapRow }): JSX.Element | null {
  if (facts === null) return null;
  const { duplicates, durability, engine, forgot, warnings } = facts;
  return (
    <div class="engine">
      <p class="sub">
        {engine}. {durability} {duplicates}
      </p>
      {forgotten > 0 && (
        <p class="late">
          {`It came back ${forgotten === 1 ? 'once' : `${forgotten} times`} without records that it had acknowledged. ${forgot?.why ?? ''} `}
          <a href={docHref('runbook', 'spillwaytapforgotten')}>What to do</a>
        </p>
      )}
      {warnings.map((warning) => (
        <p key={warning} class="late">
          {warning}
        </p>
      ))}
    </div>
  );
}

function Groups({ tap: { groups } }: { readonly tap: TapRow }): JSX.Element | null {
  if (groups.length === 0) return null;
  return (
    <dl class="facts">
      {groups.map((group) => (
        <div key={group.group} data-level={isGroupLate(group) ? 'warn' : 'ok'}>
          <dt>
            <Hint text="What this group of readers of the engine has not acknowledged. The engine is asked every 10 s.">
              Readers {group.group}
            </Hint>
          </dt>
          <dd>
            {group.entries === null ? 'not known' : `${countText(group.entries)} behind`}
            {group.ms !== null && <span class="sub">the oldest {durationText(group.ms)} old</span>}
            {group.problem !== null && <span class="sub">{group.problem}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Spill({ tap: { name, spill } }: { readonly tap: TapRow }): JSX.Element | null {
  if (spill === null) return null;
  const text = `${bytesText(spill.bytes)} of ${bytesText(spill.maxBytes)}`;
  return (
    <div class="spill">
      <span>
        <Hint text="What its target did not take: it is on the disk of its spill, and is written to the target in order when that takes it again.">
          On the disk meanwhile
        </Hint>
        : {spill.records === 0 ? 'nothing' : `${plural(spill.records, 'record')}, ${text}`}
      </span>
      <Meter label={`Spill of ${name}`} value={spill.bytes} max={spill.maxBytes} text={text} />
    </div>
  );
}

/** What proves later that the log lacks nothing, if somebody keeps it elsewhere. */
function Head({ tap: { head } }: { readonly tap: TapRow }): JSX.Element | null {
  if (head === null) return null;
  return (
    <p class="head sub">
      <Hint text="Kept elsewhere, it proves later that nothing was cut off: spillway audit verify --head. The log has it once a minute.">
        Head of the log
      </Hint>{' '}
      <code>
        {head.writer}:{head.count}:{head.hash}
      </code>
    </p>
  );
}

function TapCharts({
  name,
  history,
}: {
  readonly name: string;
  readonly history: readonly Totals[];
}): JSX.Element {
  const columns = useMemo(() => {
    const of = (totals: Totals): TapSample | undefined => totals.taps.find((tap) => tap.name === name);
    return {
      times: history.map(({ atMs }) => atMs / 1000),
      lag: [
        {
          label: 'lag',
          color: 'in',
          isFilled: true,
          values: history.map((totals) => of(totals)?.lagMs ?? null),
        },
      ],
      waits: [
        {
          label: 'waits',
          color: 'held',
          isFilled: true,
          values: history.map((totals) => of(totals)?.lagBytes ?? null),
        },
      ],
      records: [
        { label: 'records', color: 'in', values: rates(history, (totals) => of(totals)?.records ?? 0) },
        {
          label: 'lost chunks',
          color: 'bad',
          dash,
          values: rates(history, (totals) => of(totals)?.lost ?? 0),
        },
      ],
    };
  }, [history, name]);
  const { times } = columns;
  // On a phone the other taps would be far below them.
  const [isNarrow] = useState(() => matchMedia(narrowQuery).matches);
  return (
    <details class="history" open={!isNarrow}>
      <summary>
        <h3>The last ten minutes</h3>
      </summary>
      <div class="charts">
        <Chart title="Lag" times={times} lines={columns.lag} format={durationText} leastTop={1000} />
        <Chart
          title="What waits"
          times={times}
          lines={columns.waits}
          format={bytesText}
          isBinary
          leastTop={65_536}
        />
        <Chart
          title="Records a second"
          times={times}
          lines={columns.records}
          format={rateText}
          leastTop={10}
        />
      </div>
    </details>
  );
}

const dash = [5, 3];
const dayMs = 86_400_000;

/** The time of day, with its date if that is another day. */
function sinceText(atMs: number): string {
  return Date.now() - atMs < dayMs ? clockText(atMs) : new Date(atMs).toLocaleString('en-GB');
}
