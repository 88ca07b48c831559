import { describe, expect, test } from 'vitest';
import type { Overview, StreamRow, TapRow, Totals } from '../../packages/server/src/console/snapshot.ts';
import { fullInMs } from '../src/forecast.ts';
import { overAMinute } from '../src/history.ts';
import { judge, type Verdict } from '../src/verdict.ts';
import { clockText } from '../src/units.ts';

const startedAtMs = 1_000_000_000_000;
const calm: Totals = {
  atMs: startedAtMs + 600_000,
  streams: { draining: 0, opening: 0, paused: 0, streaming: 0, waiting: 0 },
  readers: 0,
  laggingReaders: 0,
  maxLagBytes: 0,
  maxLagMs: 0,
  sessions: 0,
  draining: null,
  pressure: null,
  intakeClosedAtMs: null,
  hasReloadFailed: false,
  hasKeyStoreFailed: false,
  waitingBytes: 0,
  heldBytes: 0,
  heldLimitBytes: 1_000_000,
  rssBytes: 0,
  loopDelayMs: { p50: 0, p99: 0 },
  ttftMs: null,
  tokensGenerated: 0,
  tokensDelivered: 0,
  tokensAcknowledged: 0,
  tokensSaved: 0,
  bytesIn: 0,
  bytesOut: 0,
  mergedEvents: 0,
  gaps: 0,
  stalls: 0,
  stallMs: { burst: 0, connection_lost: 0, credit: 0, event_memory: 0, limit: 0, link: 0, tap: 0 },
  retries: 0,
  ended: { cancelled: 0, completed: 0, failed: 0 },
  refused: {
    address_bound: 0,
    refused: 0,
    request_memory: 0,
    stranger_displaced: 0,
    transfer_displaced: 0,
    wrong_key: 0,
  },
  taps: [],
};

/** A sample a second, the last one at `calm.atMs`. */
function past(seconds: number, change: (secondsAgo: number) => Partial<Totals>): readonly Totals[] {
  return Array.from({ length: seconds }, (_, at) => {
    const ago = seconds - 1 - at;
    return { ...calm, atMs: calm.atMs - ago * 1000, ...change(ago) };
  });
}

function verdictOf(
  history: readonly Totals[],
  startedMs = startedAtMs,
  taps: readonly TapRow[] = [],
): string {
  const totals = history.at(-1) ?? calm;
  const overview: Overview = {
    totals,
    streams: [],
    openStreams: 0,
    taps,
    pressureChanges: [],
    broken: [],
    allBroken: 0,
  };
  return judge(overview, history, startedMs).sentence;
}

test('nothing is wrong only if nobody was refused', () => {
  expect(verdictOf(past(120, () => ({})))).toBe('Nothing is wrong: no stream is open.');
  const refused = { ...calm.refused, address_bound: 3, refused: 1 };
  expect(verdictOf(past(120, (ago) => (ago > 30 ? {} : { refused })))).toBe(
    '4 connections refused in the last minute: one address has too many, no room.',
  );
  // What is older than a minute is over.
  expect(verdictOf(past(120, (ago) => (ago > 90 ? {} : { refused })))).toContain('Nothing is wrong');
  const bodies = { ...calm.refused, request_memory: 1 };
  expect(verdictOf(past(120, (ago) => (ago > 30 ? {} : { refused: bodies })))).toContain(
    '1 request refused in the last minute: no room for request bodies',
  );
});

test('what the verdict counts is the last value of the chart, also of a gateway that is young or was started anew', () => {
  const failed = (count: number): Partial<Totals> => ({ ended: { ...calm.ended, failed: count } });
  const cases: readonly (readonly [string, readonly Totals[], number, number])[] = [
    ['old', past(300, (ago) => failed(ago > 20 ? 5 : 7)), startedAtMs, 2],
    ['young: all that it had', past(10, () => failed(3)), calm.atMs - 11_000, 3],
    ['started anew', past(100, (ago) => failed(ago > 20 ? 50 : 4)), startedAtMs, 4],
    ['no past', [], startedAtMs, 0],
  ];
  for (const [how, history, startedMs, count] of cases) {
    const chart = overAMinute(history, startedMs, ({ ended }) => ended.failed);
    expect(chart.at(-1) ?? 0, how).toBe(count);
    const said = count === 0 ? 'Nothing is wrong' : `${count} streams failed in the last minute`;
    expect(verdictOf(history, startedMs), how).toContain(said);
  }
});

test('memory that fills is told before it is full', () => {
  const filling = past(120, (ago) => ({ heldBytes: 400_000 - ago * 1000 }));
  expect(fullInMs(filling.at(-1) ?? calm, filling)).toBe(600_000);
  const fast = past(120, (ago) => ({ heldBytes: 600_000 - ago * 2000 }));
  expect(verdictOf(fast)).toBe('Memory is 60 % of its budget of 977 KiB, and at this rate full in 3 m 20 s.');
  // It empties, hardly anything is held, or it is too early to tell.
  for (const history of [
    past(120, (ago) => ({ heldBytes: 400_000 + ago })),
    past(120, (ago) => ({ heldBytes: 50_000 - ago })),
    past(10, (ago) => ({ heldBytes: 400_000 - ago * 1000 })),
    [],
  ]) {
    expect(fullInMs(history.at(-1) ?? calm, history)).toBeUndefined();
  }
});

test('a few slow seconds are no trouble, and half of the last ten are', () => {
  const slow = (of: number) => past(60, (ago) => (ago < of ? { loopDelayMs: { p50: 1, p99: 250 } } : {}));
  expect(verdictOf(slow(4))).toContain('Nothing is wrong');
  expect(verdictOf(slow(5))).toContain('its event loop is up to 250 ms late');
});

test('keys that are guessed, and a configuration that was not reloaded, are wrong', () => {
  const guessed = (count: number): Partial<Totals> => ({ refused: { ...calm.refused, wrong_key: count } });
  expect(verdictOf(past(120, (ago) => guessed(ago > 30 ? 0 : 9)))).toContain('Nothing is wrong');
  expect(verdictOf(past(120, (ago) => guessed(ago > 30 ? 0 : 90)))).toBe(
    '90 requests refused in the last minute: no accepted key.',
  );
  expect(verdictOf(past(3, () => ({ hasReloadFailed: true })))).toBe(
    'The configuration was not reloaded, and the old one stays.',
  );
});

test('a store of keys that fails is wrong', () => {
  expect(verdictOf(past(3, () => ({ hasKeyStoreFailed: true })))).toBe(
    'The store of keys fails, and the keys that were read last stay.',
  );
});

test('answers that give way are trouble, with the cause', () => {
  const change = { atMs: startedAtMs, level: 2, from: 0, cause: 'places', value: 1 } as const;
  const sentenceOf = (pressure: number | null): string => {
    const totals = { ...calm, pressure };
    const overview = {
      totals,
      streams: [],
      openStreams: 0,
      taps: [],
      pressureChanges: [change],
      broken: [],
      allBroken: 0,
    };
    return judge(overview, [], startedAtMs).sentence;
  };
  expect(sentenceOf(2)).toBe(
    "Answers give way to pressure, at level 2 of 3, because this process's places are taken.",
  );
  expect(sentenceOf(0)).toBe('Nothing is wrong: no stream is open.');
});

describe('models of providers that failed too often', () => {
  const model = { provider: 'bravo', model: 'bad', closedMs: 20_000 };
  const verdict = (broken: Overview['broken'], allBroken = broken.length): Verdict =>
    judge(
      { totals: calm, streams: [], openStreams: 0, taps: [], pressureChanges: [], broken, allBroken },
      past(120, () => ({})),
      startedAtMs,
    );

  test('are said for as long as they are not asked, with the way to them', () => {
    const { level, sentence, troubles } = verdict([model]);
    expect(sentence).toBe('The model bravo/bad is not asked: it failed too often, next try in 20.0 s.');
    expect(level).toBe('bad');
    expect(troubles[0]?.links.map(({ href }) => href)).toContain('#/providers');
    expect(verdict([{ ...model, model: '' }]).sentence).toContain('The model of bravo is not asked');
  });

  test('are said while they are tried', () => {
    const { level, sentence } = verdict([{ ...model, closedMs: 0 }]);
    expect(sentence).toBe('The model bravo/bad failed too often, and is tried by the next requests.');
    expect(level).toBe('warn');
  });

  test('are one sentence, however many they are', () => {
    const many = [5, 4, 3, 2, 1].map((at) => ({ ...model, model: `m${at}`, closedMs: at * 1000 }));
    expect(verdict(many.slice(0, 2)).sentence).toBe(
      'The models bravo/m5 and bravo/m4 are not asked: they failed too often, next try in 4.0 s.',
    );
    expect(verdict(many, 40).sentence).toBe(
      'The models bravo/m5, bravo/m4, bravo/m3 and 37 more are not asked: they failed too often, next try in 1.0 s.',
    );
    expect(verdict([...many.slice(0, 1), { ...model, closedMs: 0 }], 3).sentence).toBe(
      'The model bravo/m5 is not asked: it failed too often, next try in 5.0 s; the models bravo/bad and 1 more failed too often, and are tried by the next requests.',
    );
  });
});

test('a model that waits for a reader is trouble, and one that is paced by a limit is not', () => {
  const history = past(120, () => ({}));
  const sentenceOf = (...causes: readonly StreamRow['stallCause'][]): string => {
    const streams = causes.map((stallCause) => ({ stallCause, readers: [] }) as unknown as StreamRow);
    return judge(
      {
        totals: calm,
        streams,
        openStreams: streams.length,
        taps: [],
        pressureChanges: [],
        broken: [],
        allBroken: 0,
      },
      history,
      startedAtMs,
    ).sentence;
  };
  expect(sentenceOf('limit', null)).toContain('Nothing is wrong');
  expect(sentenceOf('limit', 'credit')).toBe('1 model is made to wait: too little credit.');
});

describe('a tap', () => {
  const up: TapRow = {
    name: 'audit',
    to: 'sqlite:audit.db',
    content: 'full',
    overflow: 'coalesce',
    gate: true,
    durability: 'fsync',
    isUp: true,
    isShedding: false,
    sinceMs: startedAtMs,
    lag: { records: 3, bytes: 300, ms: 5000 },
    records: 10,
    bytes: 1000,
    writes: 5,
    failures: 0,
    lost: 0,
    forgotten: 0,
    redacted: 0,
    waitedMs: 50,
    head: null,
    spill: null,
    problem: null,
    facts: null,
    deadLetters: null,
    groups: [],
  };
  const said = (...taps: readonly TapRow[]): string => verdictOf([calm], startedAtMs, taps);
  const lines = { ...up, name: 'lines' };

  test('that lags by five seconds is none to speak of, and by more is', () => {
    expect(said(up, lines)).toContain('Nothing is wrong');
    const late = { ...up, lag: { ...up.lag, ms: 5001 } };
    expect(said(late, lines)).toBe('The tap audit lags by 5.0 s.');
    const later = { ...lines, lag: { ...up.lag, ms: 70_000 } };
    expect(said(late, later)).toBe('The taps audit, lines lag by 1 m 10 s.');
  });

  test('that is down is said once, with since when, although it lags', () => {
    const down = { ...up, isUp: false, lag: { ...up.lag, ms: 9000 } };
    expect(said(down)).toBe(`The tap audit is down since ${clockText(startedAtMs)}.`);
    expect(said(down, { ...lines, isUp: false, sinceMs: startedAtMs + 60_000 })).toBe(
      `The taps audit, lines are down since ${clockText(startedAtMs)}.`,
    );
  });

  test('that spills writes to its disk', () => {
    const spill = { records: 1, bytes: 1, maxBytes: 10, isEngineUp: true };
    expect(said({ ...up, spill })).toContain('Nothing is wrong');
    expect(said({ ...up, spill: { ...spill, isEngineUp: false } })).toContain(
      'The tap audit writes to its disk',
    );
  });

  test('whose readers are far behind, by their own clock', () => {
    const group = { group: 'indexer', entries: 9000, ms: 300_000, problem: null };
    const unknown = { ...group, entries: null, ms: null };
    expect(said({ ...up, groups: [group, unknown] })).toContain('Nothing is wrong');
    expect(said({ ...up, groups: [unknown, { ...group, ms: 300_001 }] })).toBe(
      'The tap audit has readers that are far behind.',
    );
  });

  test('that has lost something in the last minute is wrong, and what it lost before is over', () => {
    const sample = { name: 'audit', lagBytes: 0, lagMs: 0, records: 10 };
    const history = (since: number): readonly Totals[] =>
      past(120, (ago) => ({ taps: [{ ...sample, lost: ago > since ? 5 : 8 }] }));
    expect(verdictOf(history(30), startedAtMs, [up])).toBe('The tap audit lost 3 chunks in the last minute.');
    expect(verdictOf(history(90), startedAtMs, [up])).toContain('Nothing is wrong');
  });
});
