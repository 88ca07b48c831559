import { objectOf } from './json-object.ts';
import type { EventRun } from './sse.ts';
import { dataOf, eventsIn } from './sse-events.ts';
import { parsedJson } from './parsed-json.ts';

/** The payloads of whole events, parsed, in order. `undefined` for one without data, or whose data is no JSON. */
export function payloadsOf(runs: readonly EventRun[]): unknown[] {
  return runs.flatMap(({ bytes }) => eventsIn(bytes).map((span) => parsedJson(dataOf(bytes, span))));
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
