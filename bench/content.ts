import { createCoalesce } from '@spillway/core/format/coalesce';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import {
  type ContentFilter,
  type ContentOptions,
  createContentFilter,
} from '@spillway/server/tap/content/content-filter';
import { redactionRules, redactText } from '@spillway/server/tap/content/redactor';
import { shedParts } from '@spillway/server/tap/content/shed-parts';
import { fixtures, type FormatName, formatNames, toEvents } from '../packages/core/test/format/fixtures.ts';
import { formats } from '../packages/core/test/support/formats.ts';
import { quantile } from './programs.ts';

const rules = Object.values(redactionRules);
const rounds = 15;

/** What a tap can ask for, beside the events as they are. */
const ways: Readonly<Record<string, Pick<ContentOptions, 'content' | 'redact' | 'shed'>>> = {
  redacted: { content: 'full', redact: rules },
  shed: { content: 'full', shed: shedParts },
  text: { content: 'text' },
  'text, redacted': { content: 'text', redact: rules },
};

/**
 * What it costs to change what a tap keeps: CPU for a megabyte of events and for one event, and as ratio to `JSON.parse` of
 * the same events. Events as they are cost nothing: there is no filter.
 */
export function content(): Promise<void> {
  for (const name of formatNames) {
    const [fixture] = fixtures[name];
    const events = toEvents(name, fixture?.events ?? []);
    const runs = Array.from({ length: 20 }, () => runsOf(name, events)).flat();
    for (const [how, all] of [
      ['an event each', runs],
      ['merged', merged(name, runs)],
    ] as const) {
      console.log(`\n${name}, ${how}`);
      const parse = timeOf(() => parseAll(all));
      print('JSON.parse', parse, parse, all);
      for (const [way, options] of Object.entries(ways))
        print(
          way,
          timeOf(() => filterAll(name, options, all)),
          parse,
          all,
        );
    }
  }
  const prose = 'A reservoir is filled by a river that nobody can ask to wait, and 1,234 gates. '.repeat(
    13_000,
  );
  const text = timeOf(() => redactText(prose, rules));
  console.log(`\nredactText: ${((text * 1e6) / prose.length).toFixed(1)} ms a MB of text`);
  return Promise.resolve();
}

function print(way: string, ms: number, parseMs: number, runs: readonly EventRun[]): void {
  const bytes = runs.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const events = runs.reduce((sum, run) => sum + run.events, 0);
  console.log(
    `${way.padEnd(16)} ${((ms * 1e6) / bytes).toFixed(1).padStart(7)} ms a MB, ${((ms * 1000) / events).toFixed(2).padStart(7)} µs an event, ${(ms / parseMs).toFixed(1).padStart(5)} times JSON.parse`,
  );
}

/** The median time on a core, in milliseconds. */
function timeOf(run: () => void): number {
  const times = Array.from({ length: rounds }, () => {
    const start = process.cpuUsage();
    run();
    const { system, user } = process.cpuUsage(start);
    return (system + user) / 1000;
  });
  // The first rounds only warm up.
  return quantile(times.slice(rounds / 3), 0.5);
}

function filterAll(
  name: FormatName,
  options: Pick<ContentOptions, 'content' | 'redact' | 'shed'>,
  runs: readonly EventRun[],
): void {
  const filter: ContentFilter | undefined = createContentFilter(formats[name], {
    ...options,
    maxHeldBytes: 65_536,
  });
  if (filter === undefined) return;
  filter.isShedding = true;
  for (const run of runs) filter.take(run);
  filter.flush();
}

function parseAll(runs: readonly EventRun[]): void {
  const decoder = new TextDecoder();
  for (const { bytes } of runs) {
    for (const event of eventsIn(bytes)) {
      const data = decoder.decode(dataOf(bytes, event));
      if (data !== '' && data !== '[DONE]') JSON.parse(data);
    }
  }
}

function runsOf(name: FormatName, events: readonly string[]): EventRun[] {
  const runs: EventRun[] = [];
  const scanner = new EventScanner({ classify: formats[name].classify });
  for (const event of events) scanner.push(Buffer.from(event), (run) => runs.push(run));
  return runs;
}

/** Merged as far as they can be: what a tap gets that lags. */
function merged(name: FormatName, runs: readonly EventRun[]): EventRun[] {
  const merge = createCoalesce(formats[name].delta);
  const all: EventRun[] = [];
  for (const run of runs) {
    const last = all.at(-1);
    const both = last === undefined ? undefined : merge(last, run);
    if (both === undefined) all.push(run);
    else all[all.length - 1] = both;
  }
  return all;
}
