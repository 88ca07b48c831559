import type {
  BrokenModel,
  Overview,
  RefusalCause,
  StreamRow,
  TapGroupRow,
  TapRow,
  Totals,
} from '../../packages/server/src/console/snapshot.ts';
import { countCauses, pressureTexts, refusalTexts, type StallCause, stallsHref } from './causes.ts';
import { fullInMs } from './forecast.ts';
import { lastMinute } from './history.ts';
import { docHref, endedHref } from './route.ts';
import { bytesText, clockText, durationText, plural } from './units.ts';

/** One thing that is wrong, and where to look or what to do about it. */
interface Trouble {
  readonly level: 'bad' | 'warn';
  readonly text: string;
  readonly links: readonly { readonly href: string; readonly text: string }[];
}

/** How the gateway is, for somebody who has ten seconds. */
export interface Verdict {
  readonly level: 'bad' | 'ok' | 'warn';
  readonly sentence: string;
  /** What the sentence is made of; empty: nothing is wrong. */
  readonly troubles: readonly Trouble[];
}

// What a token may be late by the gateway's own fault before somebody should look.
const maxLoopDelayMs = 100;
// One slow second is no trouble: in the last ten, so many.
const loopOverSamples = 10;
const leastLateSamples = 5;
const maxHeldRatio = 0.8;
/** Memory that is full sooner is worth a word. */
const soonMs = 600_000;
/** What waits for a tap may wait so long, as the alert says. */
export const maxTapLagMs = 5000;
/** What readers of an engine have not acknowledged may be so old, as the alert says. */
const maxGroupLagMs = 300_000;

/** Whether a group of readers of an engine is far behind. */
export function isGroupLate({ ms }: TapGroupRow): boolean {
  return ms !== null && ms > maxGroupLagMs;
}

/** `startedAtMs`: when the gateway started, in milliseconds since 1970. */
export function judge(
  { allBroken, broken, pressureChanges, streams, taps, totals }: Overview,
  history: readonly Totals[],
  startedAtMs: number,
): Verdict {
  const counted = (counter: (of: Totals) => number): number => lastMinute(history, startedAtMs, counter);
  const troubles = [
    ...drained(totals),
    ...reloaded(totals),
    ...keysRead(totals),
    ...memory(totals, history),
    ...pressed(totals, pressureChanges),
    ...tapped(taps, (name) => counted((of) => of.taps.find((tap) => tap.name === name)?.lost ?? 0)),
    ...notAsked(broken, allBroken),
    ...failures(counted(({ ended }) => ended.failed)),
    ...refusals((cause) => counted(({ refused }) => refused[cause])),
    ...lags(totals, streams),
    ...queue(totals),
    ...loop(history),
  ];
  if (troubles.length === 0) return { level: 'ok', sentence: calmSentence(totals), troubles };
  const level = troubles.some((trouble) => trouble.level === 'bad') ? 'bad' : 'warn';
  const sentence = `${troubles.map(({ text }) => text).join('; ')}.`;
  return { level, sentence: sentence.charAt(0).toUpperCase() + sentence.slice(1), troubles };
}

export function stalledStreams(streams: readonly StreamRow[]): readonly StreamRow[] {
  return streams.filter(({ stallCause }) => stallCause !== null);
}

function drained({ draining, intakeClosedAtMs }: Totals): readonly Trouble[] {
  if (draining !== null) {
    const text = `the gateway is stopping: streams that run have until ${clockText(draining.deadlineMs)}`;
    return [{ level: 'warn', text, links: [] }];
  }
  if (intakeClosedAtMs === null) return [];
  const links = [{ href: '#/gateway', text: 'take new streams again' }];
  return [{ level: 'warn', text: 'the gateway is drained and takes no new streams', links }];
}

function memory(totals: Totals, history: readonly Totals[]): readonly Trouble[] {
  const { heldBytes, heldLimitBytes } = totals;
  const ratio = heldLimitBytes === 0 ? 0 : heldBytes / heldLimitBytes;
  const links = [runbook('spillwaymemorynearbudget')];
  const inMs = fullInMs(totals, history);
  const soon = inMs !== undefined && inMs < soonMs ? `, and at this rate full in ${durationText(inMs)}` : '';
  if (ratio <= maxHeldRatio && soon === '') return [];
  const text = `memory is ${Math.round(ratio * 100)} % of its budget of ${bytesText(heldLimitBytes)}${soon}`;
  return [{ level: ratio > maxHeldRatio ? 'bad' : 'warn', text, links }];
}

function pressed({ pressure }: Totals, changes: Overview['pressureChanges']): readonly Trouble[] {
  const last = changes.at(-1);
  if (pressure === null || pressure === 0 || last === undefined) return [];
  const text = `answers give way to pressure, at level ${pressure} of 3, because ${pressureTexts[last.cause]}`;
  return [{ level: 'warn', text, links: [runbook('spillwaypressurehigh')] }];
}

/** One trouble for all taps that have the same. */
function tapped(taps: readonly TapRow[], lostBy: (name: string) => number): readonly Trouble[] {
  const troubles: Trouble[] = [];
  const add = (level: Trouble['level'], found: readonly TapRow[], section: string, text: string): void => {
    if (found.length === 0) return;
    const names = found.map(({ name }) => name).join(', ');
    const what = `the ${found.length === 1 ? 'tap' : 'taps'} ${names} ${text}`;
    troubles.push({ level, text: what, links: [{ href: '#/taps', text: 'where' }, runbook(section)] });
  };
  const down = taps.filter(({ isUp }) => !isUp);
  const sinceMs = Math.min(...down.map((tap) => tap.sinceMs));
  const are = down.length === 1 ? 'is' : 'are';
  add('bad', down, 'spillwaytapdown', `${are} down since ${clockText(sinceMs)}`);
  const late = taps.filter(({ isUp, lag }) => isUp && lag.ms > maxTapLagMs);
  const lagMs = Math.max(...late.map(({ lag }) => lag.ms));
  add('warn', late, 'spillwaytaplagging', `${late.length === 1 ? 'lags' : 'lag'} by ${durationText(lagMs)}`);
  const spilling = taps.filter(({ isUp, spill }) => isUp && spill?.isEngineUp === false);
  const write = spilling.length === 1 ? 'writes to its disk' : 'write to their disks';
  add('warn', spilling, 'spillwaytapspilling', `${write}, because nothing else takes it`);
  const read = taps.filter(({ groups }) => groups.some(isGroupLate));
  const have = read.length === 1 ? 'has' : 'have';
  add('warn', read, 'spillwaytapgrouplagging', `${have} readers that are far behind`);
  const losing = taps.filter(({ name }) => lostBy(name) > 0);
  const lost = losing.reduce((sum, { name }) => sum + lostBy(name), 0);
  add('bad', losing, 'spillwaytaplosing', `lost ${plural(lost, 'chunk')} in the last minute`);
  return troubles;
}

/** As many names fit a line. */
const maxBrokenNames = 3;

/** One trouble for all models of providers that are not asked, and one for those that are tried again. */
function notAsked(broken: readonly BrokenModel[], all: number): readonly Trouble[] {
  const links = [{ href: '#/providers', text: 'where' }, runbook('spillwayproviderbroken')];
  const closed = broken.filter(({ closedMs }) => closedMs > 0);
  const tried = broken.filter(({ closedMs }) => closedMs === 0);
  // Those that are not asked come first: what is beyond the list may be theirs only where no others are in it.
  const beyond = all - broken.length;
  const troubles: Trouble[] = [];
  if (closed.length > 0) {
    const [names, isOne] = brokenNames(closed, tried.length === 0 ? beyond : 0);
    const inMs = Math.min(...closed.map(({ closedMs }) => closedMs));
    const text = `${names} ${isOne ? 'is not asked: it' : 'are not asked: they'} failed too often, next try in ${durationText(inMs)}`;
    troubles.push({ level: 'bad', text, links });
  }
  if (tried.length > 0) {
    const [names, isOne] = brokenNames(tried, beyond);
    const text = `${names} failed too often, and ${isOne ? 'is' : 'are'} tried by the next requests`;
    troubles.push({ level: 'warn', text, links });
  }
  return troubles;
}

function brokenNames(models: readonly BrokenModel[], beyond: number): readonly [string, boolean] {
  const names = models
    .slice(0, maxBrokenNames)
    .map(({ model, provider }) => (model === '' ? `of ${provider}` : `${provider}/${model}`));
  const others = models.length - names.length + beyond;
  const told = others === 0 ? names : [...names, `${others} more`];
  const last = told.at(-1) ?? '';
  return told.length === 1
    ? [`the model ${last}`, true]
    : [`the models ${told.slice(0, -1).join(', ')} and ${last}`, false];
}

function failures(failed: number): readonly Trouble[] {
  if (failed === 0) return [];
  const text = `${plural(failed, 'stream')} failed in the last minute`;
  const links = [{ href: endedHref({ state: 'failed' }), text: 'which' }, runbook('spillwaystreamsfailing')];
  return [{ level: 'bad', text, links }];
}

/** Where a client's refusal is explained, by what was refused. */
const refusalKinds = [
  { what: 'connection', links: [runbook('spillwayconnectionsrefused')], least: 1 },
  {
    what: 'request',
    links: [{ href: docHref('operating', 'request-bodies'), text: 'what to do' }],
    least: 1,
  },
  // A key that was mistyped is no trouble.
  { what: 'key', links: [runbook('spillwaykeysguessed')], least: 10 },
] as const;

function kindOf(cause: RefusalCause): (typeof refusalKinds)[number]['what'] {
  if (cause === 'request_memory') return 'request';
  return cause === 'wrong_key' ? 'key' : 'connection';
}

function refusals(counted: (cause: RefusalCause) => number): readonly Trouble[] {
  const found = (Object.keys(refusalTexts) as RefusalCause[])
    .map((cause) => ({ cause, count: counted(cause) }))
    .filter(({ count }) => count > 0);
  return refusalKinds.flatMap(({ least, links, what }): readonly Trouble[] => {
    const of = found.filter(({ cause }) => kindOf(cause) === what);
    const count = of.reduce((sum, each) => sum + each.count, 0);
    if (count < least) return [];
    const why = of.map((each) => refusalTexts[each.cause]).join(', ');
    const text = `${plural(count, what === 'key' ? 'request' : what)} refused in the last minute: ${why}`;
    return [{ level: what === 'key' ? 'warn' : 'bad', text, links }];
  });
}

function reloaded({ hasReloadFailed }: Totals): readonly Trouble[] {
  if (!hasReloadFailed) return [];
  const text = 'the configuration was not reloaded, and the old one stays';
  return [{ level: 'bad', text, links: [runbook('spillwayreloadfailed')] }];
}

function keysRead({ hasKeyStoreFailed }: Totals): readonly Trouble[] {
  if (!hasKeyStoreFailed) return [];
  const text = 'the store of keys fails, and the keys that were read last stay';
  return [{ level: 'bad', text, links: [runbook('spillwaykeystoredown')] }];
}

function lags(totals: Totals, streams: readonly StreamRow[]): readonly Trouble[] {
  const troubles: Trouble[] = [];
  const { laggingReaders } = totals;
  if (laggingReaders > 0) {
    const text = `${plural(laggingReaders, 'reader')} ${laggingReaders === 1 ? 'lags' : 'lag'}`;
    const links = [runbook('spillwaylaggrowing')];
    troubles.push({ level: 'warn', text: withCauses(text, laggingCauses(streams)), links });
  }
  // Who waits for the pace of a limit was asked to.
  const stalled = stalledStreams(streams).filter(({ stallCause }) => stallCause !== 'limit');
  if (stalled.length > 0) {
    const text = `${plural(stalled.length, 'model')} ${stalled.length === 1 ? 'is' : 'are'} made to wait`;
    const stallCauses = stalled.map(({ stallCause }) => stallCause);
    // The causes are those of its readers, and already said.
    const said = laggingReaders > 0 ? text : withCauses(text, stallCauses);
    troubles.push({ level: 'warn', text: said, links: [{ href: stallsHref, text: 'what to do' }] });
  }
  return troubles;
}

function queue({ streams: { waiting } }: Totals): readonly Trouble[] {
  if (waiting === 0) return [];
  const text = `${plural(waiting, 'request')} ${waiting === 1 ? 'waits' : 'wait'} for a free place`;
  return [{ level: 'warn', text, links: [runbook('spillwaystreamsrefused')] }];
}

function loop(history: readonly Totals[]): readonly Trouble[] {
  const late = history
    .slice(-loopOverSamples)
    .map(({ loopDelayMs }) => loopDelayMs.p99)
    .filter((p99) => p99 > maxLoopDelayMs);
  if (late.length < leastLateSamples) return [];
  const text = `the gateway itself is busy: its event loop is up to ${durationText(Math.max(...late))} late`;
  return [{ level: 'bad', text, links: [runbook('spillwayeventloopslow')] }];
}

function runbook(section: string): Trouble['links'][number] {
  return { href: docHref('runbook', section), text: 'what to do' };
}

function calmSentence({ readers, streams }: Totals): string {
  const open = Object.values(streams).reduce((sum, count) => sum + count, 0);
  if (open === 0) return 'Nothing is wrong: no stream is open.';
  return `Nothing is wrong: ${plural(open, 'stream')}, ${plural(readers, 'reader')}, and nobody lags.`;
}

/** Of the readers for whom more than half of what may wait does. */
function laggingCauses(streams: readonly StreamRow[]): readonly (StallCause | null)[] {
  return streams.flatMap(({ readers }) =>
    readers
      .filter(({ lagBytes, maxLagBytes }) => lagBytes * 2 > maxLagBytes)
      .map(({ isLost, waitsFor }) => (isLost ? 'connection_lost' : waitsFor)),
  );
}

function withCauses(text: string, found: readonly (StallCause | null)[]): string {
  return found.length === 0 ? text : `${text}: ${countCauses(found, 'catching up')}`;
}
