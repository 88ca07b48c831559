import { join } from 'node:path';
import type { Overview, PressureChange } from '@spillway/server/console/snapshot';
import { requestIdHeader } from '@spillway/server/http/request-id';
import { expect, onTestFinished, test } from 'vitest';
import { openClient } from '../../client/src/index.ts';
import type { ModelGateRow, ProvidersSnapshot } from '../src/telemetry/providers-snapshot.ts';
import { setCapacity, startProvider } from './support/capacity.ts';
import { type LogLine, linesOf } from './support/log-lines.ts';
import { type LoadRecord, runLoad } from './support/open-loop.ts';
import {
  eventually as eventuallyWithin,
  run,
  type RunningGateway,
  startGateway,
  startSimulator,
} from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metricIn, postChat, simulatorStats } from './support/requests.ts';

/** A level of pressure stays for up to 20 s. */
const deadlineMs = 40_000;
const maxStreams = 8;
const maxTokens = 100;
const firstToken = 'ttft=100,tps=100';

/** A provider with little room, and one that takes what the first one does not. */
function settings(first: string, second: string, audit: string): string[] {
  const bounds = `maxStreams=${maxStreams},minStreams=1,maxWaiting=10,waitMs=500ms,firstTokenMs=3s,breakMs=1s`;
  return [
    '--upstream',
    `name=one,url=${first}/v1,apiKeyEnv=KEY,${bounds} name=two,url=${second}/v1,apiKeyEnv=KEY`,
    '--model',
    'name=chat,targets=one/steady,fallback=two/spare',
    '--pressure',
    `level=1,maxTokens=${maxTokens}`,
    '--tap',
    `name=audit,to=sqlite:${audit}`,
  ];
}

function eventually<T>(
  check: () => Promise<T | false | undefined> | T | false | undefined,
  what: string,
): Promise<T> {
  return eventuallyWithin(check, what, deadlineMs);
}

/** Asks for a stream every so often, whatever became of those before, until it is stopped. */
function keepAsking(url: string, everyMs: number, behaviour: string): { stop(): Promise<LoadRecord[]> } {
  const asker = { name: 'user', model: 'chat', headers: { 'x-simulate': behaviour } };
  const asked: Promise<LoadRecord[]>[] = [];
  const timer = setInterval(
    () => asked.push(runLoad([{ atMs: 0, asker }], { url, patienceMs: 60_000 })),
    everyMs,
  );
  onTestFinished(() => clearInterval(timer));
  return {
    async stop() {
      clearInterval(timer);
      return (await Promise.all(asked)).flat();
    },
  };
}

/** What was told at some time from `fromMs` to `toMs`, in milliseconds since 1970. */
interface Told<What> {
  readonly fromMs: number;
  readonly toMs: number;
  readonly what: What;
}

interface Witnesses {
  readonly metrics: readonly Told<string>[];
  readonly providers: readonly Told<ProvidersSnapshot>[];
  readonly overviews: readonly Told<Overview>[];
  stop(): Promise<void>;
}

/** Looks at the metrics often, and at all that the console gets. */
function watch(adminUrl: string): Witnesses {
  const metrics: Told<string>[] = [];
  const providers: Told<ProvidersSnapshot>[] = [];
  const overviews: Told<Overview>[] = [];
  const client = openClient({ url: adminUrl });
  const over = new AbortController();
  const page = async (path: string, take: (text: string) => void): Promise<void> => {
    try {
      for await (const item of client.read(path, { from: 'now', overflow: 'latest', autoAck: true }))
        if (item.type === 'chunk') take(new TextDecoder().decode(item.bytes));
    } catch (error) {
      if (!over.signal.aborted) throw error;
    }
  };
  const scrape = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const fromMs = Date.now();
      const what = await (await fetch(`${adminUrl}/metrics`)).text();
      metrics.push({ fromMs, toMs: Date.now(), what });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const watching = Promise.all([
    scrape(),
    page('/streams/providers', (text) => {
      const what = JSON.parse(text) as ProvidersSnapshot;
      providers.push({ fromMs: what.atMs, toMs: what.atMs, what });
    }),
    page('/streams/overview', (text) => {
      const what = JSON.parse(text) as Overview;
      overviews.push({ fromMs: what.totals.atMs, toMs: what.totals.atMs, what });
    }),
  ]);
  const stop = async (): Promise<void> => {
    over.abort();
    await client.close();
    await watching;
  };
  onTestFinished(stop);
  return { metrics, providers, overviews, stop };
}

function rowOf({ models }: ProvidersSnapshot): ModelGateRow | undefined {
  return models.find(({ provider }) => provider === 'one');
}

/** A change at a time, in milliseconds since 1970. */
interface Turn<State> {
  readonly atMs: number;
  readonly state: State;
}

/** Each witness has to say what was so at some moment of the time in which it was asked. */
function expectTold<State>(
  who: string,
  told: readonly Told<State>[],
  first: State,
  turns: readonly Turn<State>[],
): void {
  for (const { fromMs, toMs, what } of told) {
    const before = turns.findLast(({ atMs }) => atMs < fromMs)?.state ?? first;
    const meanwhile = turns.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
    expect([before, ...meanwhile.map(({ state }) => state)], `${who} at ${fromMs}`).toContain(what);
  }
}

function reading<What, Read>(
  told: readonly Told<What>[],
  read: (what: What) => Read | undefined,
): Told<Read>[] {
  return told.flatMap(({ fromMs, toMs, what }) => {
    const found = read(what);
    return found === undefined ? [] : [{ fromMs, toMs, what: found }];
  });
}

/** A series of metrics that may not be there yet. */
function series(name: string): (text: string) => number | undefined {
  return (text) => (text.includes(`\n${name.replace(/\}$/, '')}`) ? metricIn(text, name) : undefined);
}

const breakerLines = {
  'a model fails too often and is not asked': 'open',
  'a model is tried again': 'half-open',
  'a model is well and is asked as before': 'closed',
} as const;
const breakerStates = ['closed', 'half-open', 'open'] as const;
const pressureLines = [
  'the pressure has risen, and more gives way',
  'the pressure has fallen, and less gives way',
] as const;

function breakerLog(gateway: RunningGateway): LogLine[] {
  return linesOf(gateway, ...Object.keys(breakerLines)).filter(({ provider }) => provider === 'one');
}

async function pastMoment(witnesses: Witnesses): Promise<void> {
  const nowMs = Date.now();
  const all = [witnesses.metrics, witnesses.providers, witnesses.overviews];
  await eventually(
    () => all.every((told) => (told.at(-1)?.fromMs ?? 0) > nowMs),
    'all witnesses to look again',
  );
}

function isOfProviders({ cause, from, level }: PressureChange): boolean {
  return level > from && (cause === 'provider_places' || cause === 'provider_latency');
}

test('a brown-out is one story to whoever watches, and clients have their answers', async () => {
  const first = await startProvider({ places: 50 });
  const second = await startSimulator();
  const audit = join(temporaryFolder(), 'audit.db');
  const gateway = await startGateway(settings(first.url, second.url, audit), { env: { KEY: 'theirs' } });
  const witnesses = watch(gateway.adminUrl);
  const row = (): ModelGateRow | undefined => {
    const shown = witnesses.providers.at(-1)?.what;
    return shown && rowOf(shown);
  };
  const overview = (): Overview | undefined => witnesses.overviews.at(-1)?.what;
  const probe = async (behaviour: string): Promise<Headers> => {
    const response = await postChat(gateway.url, 'chat', { headers: { 'x-simulate': behaviour } });
    expect(await response.text()).toContain('[DONE]');
    probes.push(response.headers);
    return response.headers;
  };
  const probes: Headers[] = [];
  const load = keepAsking(gateway.url, 70, `${firstToken},tokens=5`);

  // Calm: how fast the provider is without load is known.
  await eventually(() => (row()?.firstToken ?? null) !== null, 'the limit to know the time to a first token');
  expect(row()).toMatchObject({ breaker: 'closed', streams: { limit: maxStreams } });

  // Slow: who is late makes room, the limit falls, the pressure rises, and answers give way.
  await setCapacity(first.url, { places: 50, slow: 10 });
  const isLate = (): boolean =>
    linesOf(gateway, 'asking the next target').some(({ code }) => code === 'upstream_timeout');
  await eventually(async () => {
    await Promise.all([probe('ttft=600,tps=100,tokens=5'), probe('ttft=600,tps=100,tokens=5')]);
    return isLate();
  }, 'a first token to be late');
  await eventually(() => (row()?.streams?.limit ?? maxStreams) < maxStreams, 'the limit to fall');
  await eventually(() => overview()?.pressureChanges.some(isOfProviders), 'the pressure to rise');
  const pressed = await eventually(async () => {
    const headers = await probe(`${firstToken},tokens=5`);
    return headers.has('spillway-gave-way') ? headers : undefined;
  }, 'an answer to give way');
  expect(pressed.get('spillway-gave-way')).toBe(`max_tokens=${maxTokens}`);

  // Failing: it is given up, tried, and given up again.
  await setCapacity(first.url, { most: 0, status: 503, retryAfter: 0 });
  const refused = 'upstream_invalid (status 503)';
  await eventually(() => {
    const { events } = witnesses.providers.at(-1)?.what ?? { events: [] };
    return events.filter(({ state, why }) => state === 'open' && why === refused).length >= 2;
  }, 'the breaker to open again');

  // Back: it is asked as before, and who asks for more gets all places.
  await setCapacity(first.url, { places: 50 });
  await eventually(() => row()?.breaker === 'closed', 'the breaker to close');
  const more = keepAsking(gateway.url, 50, `${firstToken},tokens=40`);
  await eventually(() => row()?.streams?.limit === maxStreams, 'the limit to come back');
  const others = await more.stop();
  await eventually(() => overview()?.totals.pressure === 0, 'the pressure to fall');
  const byTwo = async (): Promise<number> => (await simulatorStats(second.url)).length;
  const byOne = async (): Promise<number> => (await simulatorStats(first.url)).length;
  await eventually(async () => {
    const [before, one] = [await byTwo(), await byOne()];
    await eventually(async () => (await byOne()) >= one + 10, 'the first one to be asked');
    return (await byTwo()) === before;
  }, 'all to be served by the first one');
  const records = [...(await load.stop()), ...others];
  const asked = records.length + probes.length;
  await eventually(() => linesOf(gateway, 'stream ended').length === asked, 'the lines of all ends');
  await pastMoment(witnesses);
  await witnesses.stop();

  // Clients: everybody has the whole answer.
  expect(records.filter(({ end }) => end !== 'completed')).toEqual([]);

  // The breaker: log, console and metrics have the same states in the same order.
  const { metrics, overviews, providers } = witnesses;
  const last = providers.at(-1)?.what;
  const lastMetrics = metrics.at(-1)?.what ?? '';
  const events = last?.events.toReversed().filter(({ provider }) => provider === 'one') ?? [];
  expect(events.map(({ state, why }) => (state === 'open' ? [state, why] : [state]))).toEqual(
    breakerLog(gateway).map(({ msg, why }) => {
      const state = breakerLines[msg as keyof typeof breakerLines];
      return state === 'open' ? [state, why] : [state];
    }),
  );
  const states = events.map(({ state }) => state);
  expect(states.join(' ')).toMatch(/^(?:open (?:half-open open )*half-open closed(?: |$))+$/);
  const shownStates = reading(providers, (shown) => rowOf(shown)?.breaker ?? undefined);
  const measured = reading(metrics, series('spillway_provider_breaker{provider="one"}'));
  const measuredStates = reading(measured, (value) => breakerStates[value]);
  expectTold('the console', shownStates, 'closed', events);
  expectTold('a metric', measuredStates, 'closed', events);
  // It stays open for longer than a look takes.
  for (const seen of [shownStates, measuredStates]) expect(seen.map(({ what }) => what)).toContain('open');
  expect(metricIn(lastMetrics, 'spillway_provider_breaks_total{provider="one"}')).toBe(
    states.filter((state) => state === 'open').length,
  );
  const lastRow = last && rowOf(last);
  expect(lastRow).toMatchObject({
    breaker: 'closed',
    closedMs: 0,
    streams: { limit: maxStreams, waiting: 0 },
  });

  // The limit: it fell, and is what it was.
  const limits = reading(metrics, series('spillway_provider_limit{provider="one"}')).map(({ what }) => what);
  const shownLimits = providers.flatMap(({ what }) => rowOf(what)?.streams?.limit ?? []);
  for (const seen of [limits, shownLimits]) {
    expect(seen[0]).toBe(maxStreams);
    expect(Math.min(...seen)).toBeLessThan(maxStreams / 2);
    expect(seen.at(-1)).toBe(maxStreams);
  }

  // Fallbacks: as many as the second one was asked for.
  const ended = linesOf(gateway, 'stream ended');
  const fallbacks = await byTwo();
  expect(metricIn(lastMetrics, 'spillway_fallbacks_total{provider="one"}')).toBe(fallbacks);
  expect(ended.filter(({ provider }) => provider === 'two')).toHaveLength(fallbacks);
  const notTaken = linesOf(gateway, 'asking the next target').filter(({ code }) =>
    ['overloaded', 'provider_unavailable'].includes(String(code)),
  );
  expect(metricIn(lastMetrics, 'spillway_provider_refused_total{provider="one"}')).toBe(notTaken.length);
  expect(last?.providers).toEqual([{ name: 'one', refused: notTaken.length, fellBack: fallbacks }]);

  // The pressure: the same levels with the same causes.
  const changes = overviews.at(-1)?.what.pressureChanges ?? [];
  const rounded = (value: number): number => Math.round(value * 100) / 100;
  expect(
    changes.map(({ cause, from, level, value }) => ({ cause, from, level, value: rounded(value) })),
  ).toEqual(
    linesOf(gateway, ...pressureLines).map(({ cause, from, pressure: level, value }) => ({
      cause,
      from,
      level,
      value,
    })),
  );
  const levels = changes.map(({ atMs, level }) => ({ atMs, state: level }));
  expectTold(
    'the overview',
    reading(overviews, ({ totals }) => totals.pressure ?? undefined),
    0,
    levels,
  );
  expectTold('a metric', reading(metrics, series('spillway_pressure_level')), 0, levels);
  for (const { cause, from, level } of changes.filter(isOfProviders)) {
    const told = reading(metrics, series(`spillway_pressure_asked{cause="${cause}"}`));
    expect(Math.max(...told.map(({ what }) => what)), `${cause} ${from} ${level}`).toBeGreaterThanOrEqual(
      level,
    );
  }

  // What gave way: the same requests in their answers, the log and the metrics, and one of them in the audit log.
  const gaveWay = ended.filter((line) => line['gaveWay'] === `max_tokens=${maxTokens}`);
  expect(metricIn(lastMetrics, 'spillway_gave_way_total{what="max_tokens"}')).toBe(gaveWay.length);
  const heads = [
    ...records.map((record) => record.gaveWay),
    ...probes.map((head) => head.get('spillway-gave-way') ?? undefined),
  ];
  expect(heads.filter((head) => head === `max_tokens=${maxTokens}`)).toHaveLength(gaveWay.length);
  const request = pressed.get(requestIdHeader) ?? 'none';
  const line = gaveWay.find((each) => each['request'] === request);
  const shown = run(['audit', 'show', request, '--from', `sqlite:${audit}`, '--json']);
  expect(await shown.exited).toBe(0);
  expect(shown.stdout()).toContain(`"gaveWay":["max_tokens=${maxTokens}"]`);
  expect(shown.stdout()).toContain(`"provider":"${String(line?.['provider'])}"`);
}, 120_000);
