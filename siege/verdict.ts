import { type GatewayState, isOfConnections } from './gateway-state.ts';
import type { SiegeRecord } from './siege-record.ts';

/** How much longer than in the calm an honest reader may wait, for its first token or between two. */
const maxAddedWaitMs = 1000;
/** What the code that was needed for the first time, and its caches, may add. */
const heapToleranceBytes = 16 * 1024 * 1024;
/**
 * The system's allocator may keep all that was freed, which is what the gateway's own bounds allow: 64 MiB of bodies, 32 of model
 * lists and 25 of streams; glibc keeps up to 64 MiB beside that, and V8 some of its pages. Whether it grows for ever is what the
 * hour of `nightly.ts` says.
 */
const rssToleranceBytes = 192 * 1024 * 1024;

/** One thing that has to hold. */
export interface Check {
  readonly name: string;
  readonly isHeld: boolean;
  /** What was found, with what was expected. */
  readonly found: string;
}

/** What has to hold after a siege. */
export function judge({
  assault,
  attacked,
  before,
  calm,
  exit,
  honest,
  observed,
  settled,
}: SiegeRecord): Check[] {
  const idle = Object.entries(attacked).filter(([, { attempts }]) => attempts === 0);
  const defects = Object.entries(attacked).filter(([, counts]) => counts.defects > 0);
  return [
    {
      name: 'the calm was calm',
      isHeld: calm.broken === 0 && calm.refused === 0 && calm.characters > 0,
      found: `${calm.broken} streams broken, ${calm.refused} requests refused`,
    },
    {
      name: 'every kind attacked',
      isHeld: idle.length === 0 && assault === undefined,
      found:
        assault ?? (idle.length === 0 ? 'all did' : `nothing from ${idle.map(([name]) => name).join(', ')}`),
    },
    {
      name: 'it is the same process',
      isHeld: exit === undefined,
      found: exit ?? 'the one that was started',
    },
    {
      name: 'honest readers lost no byte',
      isHeld: honest.broken === 0 && honest.characters > 0,
      found: `${honest.broken} of ${honest.completed + honest.broken} streams broken${honest.problems.length > 0 ? `: ${honest.problems[0]}` : ''}`,
    },
    wait('first token', calm.firstTokenMs.max, honest.firstTokenMs.max, observed.loadLateMs),
    wait('longest gap', calm.longestGapMs.max, honest.longestGapMs.max, observed.loadLateMs),
    {
      name: 'no answer was a defect',
      isHeld: defects.length === 0,
      found:
        defects.length === 0
          ? 'none'
          : defects.map(([name, counts]) => `${name}: ${counts.defects}`).join(', '),
    },
    ...compare(before, settled),
  ];
}

function connectionsIn(gauges: Readonly<Record<string, number>>): number {
  let sum = 0;
  for (const [series, value] of Object.entries(gauges)) if (isOfConnections(series)) sum += value;
  return sum;
}

/** What has to be again what it was. `undefined`: the gateway did not say. */
export function compare(before: GatewayState, after: GatewayState | undefined): Check[] {
  const growth = (name: string, from: number, to: number | undefined, tolerance: number): Check => ({
    name: `${name} as before`,
    isHeld: to !== undefined && to <= from + tolerance,
    found: `${inMegabytes(from)} MB, now ${to === undefined ? 'unknown' : inMegabytes(to)} (tolerance ${inMegabytes(tolerance)})`,
  });
  // A connection may be the watcher's own, which has shown no key before and has closed since: fewer is fine.
  const changed = Object.entries(before.gauges)
    .filter(([series, value]) => after?.gauges[series] !== value && !isOfConnections(series))
    .map(([series, value]) => `${series} ${value}, now ${after?.gauges[series]}`);
  const open = connectionsIn(before.gauges);
  const stillOpen = connectionsIn(after?.gauges ?? {});
  if (stillOpen > open) changed.push(`connections ${open}, now ${stillOpen}`);
  return [
    {
      name: 'descriptors as before',
      isHeld: after !== undefined && after.descriptors <= before.descriptors,
      found: `${before.descriptors}, now ${after?.descriptors ?? 'unknown'}`,
    },
    growth('heap', before.heapBytes, after?.heapBytes, heapToleranceBytes),
    growth('memory', before.rssBytes, after?.rssBytes, rssToleranceBytes),
    {
      name: 'gauges as before',
      isHeld: after !== undefined && changed.length === 0,
      found:
        after === undefined
          ? 'unknown'
          : changed.length === 0
            ? `all ${Object.keys(before.gauges).length} of them`
            : changed.join('; '),
    },
  ];
}

/** What the readers' own process was late by is not the gateway's. */
function wait(what: string, calmMs: number, attackedMs: number, lateMs: number): Check {
  return {
    name: `${what}: at most a second longer`,
    isHeld: attackedMs <= calmMs + maxAddedWaitMs + lateMs,
    found: `${calmMs} ms, under attack ${attackedMs} ms (the readers themselves were late by ${Math.round(lateMs)})`,
  };
}

function inMegabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
