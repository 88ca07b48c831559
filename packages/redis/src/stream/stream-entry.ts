import { maxParts, type RecordPart } from '@spillway/core/engine';

/** An entry of a stream of Redis. */
export interface RedisEntry {
  /** Its id, `MS-NUMBER`. */
  readonly id: string;
  /** Its fields, in their order. A name may be there twice. */
  readonly fields: readonly (readonly [name: string, value: Uint8Array])[];
}

/** The part of a record that a sink has added; `undefined`: another program has. */
export function partOf({ fields }: RedisEntry): RecordPart | undefined {
  const names = fields.map(([name]) => name).join(' ');
  if (names !== 'stream seq value' && names !== 'stream seq part parts value') return undefined;
  const texts = new Map(fields.slice(0, -1).map(([name, value]) => [name, Buffer.from(value).toString()]));
  const stream = texts.get('stream') ?? '';
  const seq = numberIn(texts.get('seq') ?? '');
  const part = numberIn(texts.get('part') ?? '0');
  const parts = numberIn(texts.get('parts') ?? '1');
  const value = fields.at(-1)?.[1];
  if (value === undefined || seq === undefined || part === undefined || parts === undefined) return undefined;
  if (!/^[\w-]{1,128}$/.test(stream) || part >= parts || parts > maxParts) return undefined;
  return { stream, seq, part, parts, value };
}

/** The fields of an entry as JSON, as text. */
export function jsonOf({ fields }: RedisEntry): Uint8Array {
  const texts = fields.map(([name, value]) => [name, Buffer.from(value).toString()] as const);
  return Buffer.from(JSON.stringify(Object.fromEntries(texts)));
}

function numberIn(text: string): number | undefined {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}
