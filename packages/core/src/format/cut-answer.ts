import type { TokenUsage } from './format.ts';
import { objectOf } from './json-object.ts';
import type { EventRun } from './sse.ts';
import { dataOf, eventsIn } from './sse-events.ts';

/** An answer that is ended in its midst, on purpose, as {@link Format.close} needs it. */
export interface CutAnswer {
  /** The payloads of the events that came, in order, as far as they are kept. One that is no JSON is `undefined`. */
  readonly events: readonly unknown[];
  /** Whether the first of the events is the answer's first. */
  readonly isFromStart: boolean;
  /** What {@link Format.identity} made of the answer's first event. Only needed without its start. Default: nothing. */
  readonly identity?: unknown;
  /** Why the answer is ended: the member `spillway` of its last event. */
  readonly note: Readonly<Record<string, unknown>>;
  /** The tokens so far; what is not known of them is left out, or 0 where the format must have a number. */
  readonly usage: TokenUsage;
}

/** The payloads of whole events, parsed, in order. `undefined` for one without data, or whose data is no JSON. */
export function payloadsOf(runs: readonly EventRun[]): unknown[] {
  return runs.flatMap(({ bytes }) => eventsIn(bytes).map((span) => parsed(dataOf(bytes, span))));
}

/** Whether a value says why a part of an answer has ended: see `isReason`, which is for bytes. */
export function isReasonValue(value: unknown): boolean {
  return typeof value === 'number' ? value > 0 : typeof value === 'string' && !noReasons.has(value);
}

/** An event as those formats write it that name their events: `event: type`. */
export function namedEvent(payload: { readonly type: string } & Readonly<Record<string, unknown>>): string {
  return `event: ${payload.type}\ndata: ${JSON.stringify(payload)}\n\n`;
}

/** The fields of a value that are there, of those that are named. */
export function pick(value: unknown, ...names: readonly string[]): Record<string, unknown> {
  const fields = objectOf(value);
  return Object.fromEntries(
    names.flatMap((name) => (Object.hasOwn(fields, name) ? [[name, fields[name]]] : [])),
  );
}

const noReasons = new Set(['', 'null', 'error', 'FINISH_REASON_UNSPECIFIED', 'BLOCK_REASON_UNSPECIFIED']);
const decoder = new TextDecoder();

function parsed(data: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(data));
  } catch {
    return undefined;
  }
}
