import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { configOptions } from '../src/config/schema.ts';
import { stallCauses } from '@spillway/server/stream/meter';
import { eventually, type RunningGateway, startBoth, startSimulator } from './support/processes.ts';
import { needsPrometheus, promtool, startPrometheus, temporaryFolder } from './support/prometheus.ts';
import { metric, postChat, rawChat } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';
import { folderWithEngine, SmallEngine, withoutEngines } from './support/small-engine.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const alertsFile = join(root, 'ops/alerts.yaml');
const documents = [
  'docs/errors.md',
  'docs/log.md',
  'docs/operating.md',
  'docs/providers.md',
  'docs/runbook.md',
];

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Panel {
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
  readonly templating: { readonly list: readonly { readonly definition?: string }[] };
}

const { groups } = parse(read('ops/alerts.yaml')) as { groups: readonly { rules: readonly Alert[] }[] };
const alerts = groups.flatMap(({ rules }) => rules);
const dashboard = JSON.parse(read('ops/dashboard.json')) as Dashboard;
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
/** The dashboard's queries, as Grafana sends them. */
const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => sent(expr)));

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function sent(expression: string): string {
  return expression.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:job|instance)/g, '.*');
}

/** A metric's name with its matchers, of everything that is selected. */
function selectors(expression: string): string[] {
  const bare = expression
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, (text) => text.replaceAll(/[^"]/g, '_'))
    .replaceAll(/\b(?:by|without|on|ignoring)\s*\([^)]*\)|\bgroup_(?:left|right)\b/g, (text) =>
      ' '.repeat(text.length),
    );
  return [...bare.matchAll(/\b(?:up|ALERTS|[a-z]\w*_\w+)\b(?!\s*\()(?:\{[^}]*\})?/g)].map(
    ({ index, 0: text }) => expression.slice(index, index + text.length),
  );
}

function nameOf(selector: string): string {
  return selector.split('{')[0] ?? '';
}

/** GitHub's anchors of a Markdown file's headings. */
function anchors(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

/** Streams that end in all ways, one whose reader never reads, and one that runs on. */
async function makeTraffic(gateway: RunningGateway): Promise<void> {
  const paused = 'spillway_streams{state="paused"}';
  const before = await metric(gateway.adminUrl, paused);
  for (const model of ['sim:tps=0,tokens=20', 'sim:tps=0,cut=2000', 'sim:status=429']) {
    await (await postChat(gateway.url, model)).text();
  }
  // Five failures are enough for a breaker, and the sixth request is refused by it.
  for (let asked = 0; asked < 6; asked += 1) await (await postChat(gateway.url, 'failing')).text();
  await (await postChat(gateway.url, 'bounded/sim:status=500')).text();
  // Says what it used without being asked, as OpenAI's does not.
  const usage = await fetch(`${gateway.url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
    body: JSON.stringify({ model: 'sim:tps=0,tokens=20', max_tokens: 100, stream: true, messages: [] }),
  });
  await usage.text();
  const leaver = await rawChat(gateway.url, 'sim:tps=50,tokens=100000');
  leaver.socket.destroy();
  await rawChat(gateway.url, 'sim:tps=50,tokens=100000');
  await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=800,size=20000', { reads: false });
  await eventually(
    async () => (await metric(gateway.adminUrl, paused)) > before,
    'the provider of the reader that never reads to wait',
  );
}

describe('what the alerts and the dashboard say of themselves', () => {
  test('each alert has a severity, a text, and a section in the runbook of its name', () => {
    const sections = anchors(read('docs/runbook.md'));
    for (const { alert, annotations, labels } of alerts) {
      expect(labels['severity'], alert).toMatch(/^(?:critical|warning|info)$/);
      expect(annotations['summary'], alert).toBeTruthy();
      expect(annotations['description'], alert).toContain('{{');
      expect(annotations['runbook'], alert).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
      expect(sections, alert).toContain(alert.toLowerCase());
    }
    const named = sections.filter((section) => section.startsWith('spillway'));
    expect(named.toSorted()).toEqual(alerts.map(({ alert }) => alert.toLowerCase()).toSorted());
  });

  test('the runbook has a line for each cause of a stall', () => {
    const cells = (name: string): string[] => {
      const section = read('docs/runbook.md')
        .split(/^## /m)
        .find((text) => text.startsWith(`${name}\n`));
      const rows = [...(section ?? '').matchAll(/^\| (`[^|]+) \|/gm)].slice(1);
      return rows.flatMap(([, cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, word = '']) => word));
    };
    expect(cells('SpillwayStalling').toSorted()).toEqual([...stallCauses].toSorted());
  });

  test('each panel says what to do on it, and no two have the same title', () => {
    for (const { description = '', title } of panels) expect(description.length, title).toBeGreaterThan(60);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });

  test.each(documents)('%s: its links lead somewhere, and its defaults are the gateway’s', (document) => {
    const markdown = read(document);
    for (const [, path = '', anchor] of markdown.matchAll(/\]\(((?!https?:)[^)#]*)(?:#([^)]*))?\)/g)) {
      const target = path === '' ? document : join('docs', path);
      const text = read(target);
      if (anchor !== undefined) expect(anchors(text), `${target}#${anchor}`).toContain(anchor);
    }
    const known = new Map(
      configOptions.map(({ defaultValue, key }) => [key as string, String(defaultValue)]),
    );
    // A cause of a stall may be called as a setting is: only tables with a column of defaults have some.
    const tables = markdown.split('\n\n').filter((block) => /^\| [a-z]+ \| default \|/.test(block));
    const rows = tables.join('\n').matchAll(/^\| `([a-z][A-Za-z]*)` \| ([^|]*?) \|/gm);
    for (const [, key = '', value] of rows) {
      if (known.has(key)) expect(value, key).toBe(known.get(key));
    }
  });
});

/** What only a listener with a certificate has; the tests of TLS look at it. */
const ofTls = 'spillway_certificate_expiry_seconds';
/** Only gateways whose limits are elsewhere have them. */
const ofLimitStore = ['spillway_limit_store_up', 'spillway_limit_store_duration_seconds'];
/** Only gateways with a store of keys have them. */
const ofKeyStore = ['spillway_key_store_up', 'spillway_key_store_changes_total'];
/** Only calls that have a caller who speaks, or a cascade, have them: voice-cascade.test.ts has their names. */
const ofCascades = [
  'spillway_call_caller_level',
  'spillway_call_stage_errors_total',
  'spillway_call_stage_wait_seconds',
  'spillway_call_stage_wait_seconds_count',
];
const notHere: ReadonlySet<string> = new Set([ofTls, ...ofLimitStore, ...ofKeyStore, ...ofCascades]);

/**
 * A gateway that has what not every gateway has: a canary, calls, a tap with an audit log and a spill, one to an engine, and a provider
 * with a limit, a breaker and a fallback.
 */
async function startWhole(): Promise<RunningGateway> {
  const folder = temporaryFolder();
  const tap = `name=audit,to=sqlite:${folder}/audit.db,spill=${folder}/spill`;
  const engine = await SmallEngine.create();
  const env = { BOUNDED_KEY: 'any' };
  const options = { cwd: folderWithEngine(), env, nodeArgs: withoutEngines };
  const bounded = await startSimulator();
  const { gateway } = await startBoth(
    [
      '--upstream',
      `name=bounded,url=${bounded.url}/v1,apiKeyEnv=BOUNDED_KEY,maxStreams=10,breakMs=1h`,
      '--model',
      'name=failing,targets=bounded/sim:status=500,fallback=bounded/sim',
      '--log-level',
      'silent',
      '--canary-ms',
      '500',
      '--voice',
      'simulated',
      '--tap',
      tap,
      '--tap',
      `name=bus,to=${engine.url},groups=indexer`,
      '--tenant',
      'name=*,tokensPerMonth=1000000000',
      '--pressure',
      'level=3,mergeMs=20',
    ],
    options,
  );
  await eventually(
    async () =>
      (await (await fetch(`${gateway.adminUrl}/metrics`)).text()).includes('spillway_tap_group_lag_'),
    'the lag of a group',
  );
  return gateway;
}

test('alerts, dashboard and documents name only metrics that the gateway has', async () => {
  const gateway = await startWhole();
  await makeTraffic(gateway);
  const text = await eventually(async () => {
    const scraped = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    return scraped.includes('spillway_canary_time_to_first_token_seconds') && scraped;
  }, 'the first canary to be back');
  const series = new Set([...text.matchAll(/^[a-z]\w*/gm)].map(([name]) => name));
  const used = new Set(
    [
      ...alerts.map(({ expr }) => expr),
      ...queries,
      ...dashboard.templating.list.map(({ definition = '' }) => definition.replace(/^label_values/, '')),
    ].flatMap((expression) => selectors(expression).map(nameOf)),
  );
  expect([...used].filter((name) => name !== 'up' && !notHere.has(name) && !series.has(name))).toEqual([]);
  // Documents name histograms without their suffixes.
  const families = new Set(
    [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name = '']) => name).concat(...notHere),
  );
  for (const document of documents) {
    const named = [...read(document).matchAll(/`((?:spillway|gen_ai|nodejs|process)_\w+)/g)];
    expect(
      named.map(([, name = '']) => name).filter((name) => !families.has(name)),
      document,
    ).toEqual([]);
  }
});

test('the budget of SpillwayMemoryNearBudget is what all channels together may hold', async () => {
  const { gateway } = await startBoth([
    '--max-streams=3',
    '--max-retained-bytes=0',
    '--max-event-bytes=20000',
    '--max-event-memory-bytes=100000',
  ]);
  const session = await openSession(gateway.url);
  for (const stream of [1, 2, 3]) {
    // It acknowledges nothing, so that its channel is soon full.
    session.send(chatRequest('sim:ttft=0,tps=0,tokens=100000', { stream, windowBytes: 1024 }));
  }
  const figure = (name: string): Promise<number> => metric(gateway.adminUrl, `spillway_${name}`);
  await eventually(async () => (await figure('streams{state="paused"}')) === 3, 'all streams to be full');
  const channelBytes = (await figure('reader_lag_bytes')) / (await figure('reader_lag_ratio'));
  expect(await figure('held_limit_bytes')).toBeCloseTo(3 * channelBytes + 100_000);
  expect(await figure('held_bytes')).toBeLessThanOrEqual(3 * channelBytes);
});

describe('Prometheus', () => {
  test('takes the alerts, and each fires when it should and only then', (context) => {
    needsPrometheus(context);
    expect(promtool('check', 'rules', alertsFile)).toMatchObject({ isGood: true });
    const verdict = promtool('test', 'rules', join(root, 'ops/alerts.test.yaml'));
    expect(verdict.isGood, verdict.text).toBe(true);
    for (const { alert } of alerts) expect(read('ops/alerts.test.yaml')).toContain(`alertname: ${alert}`);
  });

  test('understands every query of the dashboard', (context) => {
    needsPrometheus(context);
    const file = join(temporaryFolder(), 'queries.yaml');
    const expressions = [...queries, ...dashboard.annotations.list.map(({ expr }) => sent(expr))];
    const rules = expressions.map((expr, index) => ({ record: `query_${index}`, expr }));
    writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules }] }));
    const verdict = promtool('check', 'rules', file);
    expect(verdict.isGood, verdict.text).toBe(true);
  });

  test('scrapes a running gateway: every query has data, and every alert can be evaluated', async (context) => {
    needsPrometheus(context);
    const gateway = await startWhole();
    const prometheus = await startPrometheus(gateway.adminUrl, alertsFile);
    // Rates need a sample from before.
    await eventually(
      async () => (await prometheus.query('up{job="spillway"} == 1')).length === 1,
      'Prometheus to scrape the gateway',
    );
    await makeTraffic(gateway);
    await eventually(
      async () => (await prometheus.query('spillway_streams{state="paused"} == 1')).length === 1,
      'Prometheus to see the traffic',
    );
    // A series that came with the first traffic has a rate from the second on.
    await makeTraffic(gateway);
    for (const query of queries) {
      const hasData = async (): Promise<boolean> =>
        (await prometheus.query(query)).some(({ value: [, number] }) => number !== 'NaN');
      await eventually(hasData, `data of ${query}`);
    }
    for (const selector of alerts.flatMap(({ expr }) => selectors(expr))) {
      if (notHere.has(nameOf(selector))) continue;
      expect(await prometheus.query(selector), selector).not.toHaveLength(0);
    }
    interface Rules {
      readonly groups: readonly {
        readonly rules: readonly {
          readonly name: string;
          readonly health: string;
          readonly lastError?: string;
        }[];
      }[];
    }
    const evaluated = await eventually(async () => {
      const rules = (await prometheus.ask<Rules>('rules')).groups.flatMap((group) => group.rules);
      return rules.every(({ health }) => health !== 'unknown') && rules;
    }, 'the alerts to be evaluated');
    expect(evaluated.filter(({ health }) => health !== 'ok')).toEqual([]);
    expect(evaluated.map(({ name }) => name)).toEqual(alerts.map(({ alert }) => alert));
  });
});
