import type {
  PressureCause,
  ReaderRow,
  RefusalCause,
  StreamRow,
} from '../../packages/server/src/console/snapshot.ts';
import { docHref } from './route.ts';
import { bytesText } from './units.ts';

export type StallCause = NonNullable<StreamRow['stallCause']>;

export const causes = [
  'link',
  'credit',
  'connection_lost',
  'event_memory',
  'limit',
  'tap',
  'burst',
] as const satisfies readonly StallCause[];

/** What keeps a reader from getting more, for people. */
export const causeTexts: Readonly<
  Record<StallCause, { readonly short: string; readonly one: string; readonly many: string }>
> = {
  link: { short: 'link', one: 'slow link', many: 'slow links' },
  credit: { short: 'credit', one: 'too little credit', many: 'too little credit' },
  connection_lost: { short: 'lost', one: 'connection lost', many: 'connections lost' },
  event_memory: { short: 'memory', one: 'no room for a large event', many: 'no room for large events' },
  limit: { short: 'limit', one: 'a limit', many: 'limits' },
  tap: { short: 'tap', one: 'a tap that lags', many: 'taps that lag' },
  burst: { short: 'burst', one: 'burst', many: 'bursts' },
};

/** What a cause means, and so what to look at. */
export const causeHints: Readonly<Record<StallCause, string>> = {
  link: 'its connection takes less than the model makes',
  credit: 'its program has not acknowledged enough of what it has',
  connection_lost: 'its connection is gone, and it may come back',
  event_memory: 'its large event finds no room beside those of all streams (maxEventMemoryBytes)',
  limit: 'the pace that a limit gives it, or a limit that has not granted more yet',
  tap: 'a tap that may lose nothing has not kept it yet',
  burst: 'more came at once than its window holds',
};

/** Where the runbook says what to do about models that wait. */
export const stallsHref = docHref('runbook', 'spillwaystalling');

/** What clients are refused for. */
export const refusalTexts: Readonly<Record<RefusalCause, string>> = {
  address_bound: 'one address has too many',
  refused: 'no room',
  request_memory: 'no room for request bodies',
  stranger_displaced: 'strangers made room',
  transfer_displaced: 'requests that do not come whole made room',
  wrong_key: 'no accepted key',
};

/** What pressure comes from, behind "because". */
export const pressureTexts: Readonly<Record<PressureCause, string>> = {
  loop_delay: "this process's event loop is late",
  memory: "this process's memory fills up",
  places: "this process's places are taken",
  provider_latency: 'first tokens of a provider are late',
  provider_places: 'the places at a provider are taken',
};

/** A gate makes every token wait for a write. Who waits for longer than that is told. */
export const longHoldMs = 1000;

function heldUpBy({ isLost, lagMs, waitsFor }: ReaderRow): StallCause | null {
  if (isLost) return 'connection_lost';
  return waitsFor === 'tap' && lagMs < longHoldMs ? null : waitsFor;
}

/** What keeps a reader from getting more, in two words that fit beside its lag; `undefined`: nothing. */
export function whyOf(reader: ReaderRow): string | undefined {
  const { creditBytes, isPaused } = reader;
  // Its program does something else, and its connection answers.
  if (isPaused) return 'paused';
  const cause = heldUpBy(reader);
  if (cause === null) return undefined;
  if (cause === 'credit') return (creditBytes ?? 0) > 0 ? 'little credit' : 'no credit';
  return causeTexts[cause].one;
}

/** The same as a sentence. */
export function whySentence(reader: ReaderRow): string | undefined {
  const { creditBytes, isPaused } = reader;
  if (isPaused) {
    return 'Paused: its program holds back its credit, and its connection answers. It is kept for pauseMs.';
  }
  const cause = heldUpBy(reader);
  if (cause === null) return undefined;
  if (cause === 'credit' && (creditBytes ?? 0) > 0) {
    return `Too little credit: its next chunk is larger than the ${bytesText(creditBytes ?? 0)} that it may be sent.`;
  }
  const text = cause === 'credit' ? 'no credit' : causeTexts[cause].one;
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}: ${causeHints[cause]}.`;
}

/** A WebSocket may have so much untaken, as the alert says. */
const maxUntakenBytes = 262_144;

/** What the reader's WebSocket has not taken, and whether that is much. `undefined`: it has none, or has taken all. */
export function untakenBy({ untakenBytes }: ReaderRow): { text: string; isMuch: boolean } | undefined {
  if (untakenBytes === null || untakenBytes === 0) return undefined;
  const isMuch = untakenBytes > maxUntakenBytes;
  const than = isMuch ? `, more than ${bytesText(maxUntakenBytes)}` : '';
  return { text: `${bytesText(untakenBytes)} that its WebSocket has not taken${than}`, isMuch };
}

/** `slow links (2), too little credit (1)`, the most frequent first. */
export function countCauses(found: readonly (StallCause | null)[], otherText: string): string {
  const counts = new Map<StallCause | null, number>();
  for (const cause of found) counts.set(cause, (counts.get(cause) ?? 0) + 1);
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .map(([cause, count]) => {
      const text = cause === null ? otherText : causeTexts[cause][count === 1 ? 'one' : 'many'];
      return counts.size === 1 && found.length === 1 ? text : `${text} (${count})`;
    })
    .join(', ');
}
