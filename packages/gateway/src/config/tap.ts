import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Durability } from '@spillway/core';
import { z } from 'zod';
import { redactionRules } from '@spillway/server/tap/content/redactor';
import { shedParts } from '@spillway/server/tap/content/shed-parts';
import { durabilities } from './durability.ts';
import { engineKindOf, engineSchemes, hasPassword, shownPlace } from './engine-url.ts';
import { entries } from './entries.ts';
import { count, duration, flag, items, size, text, unbounded, variableName } from './values.ts';

/** Policies under which a tap loses nothing. */
const losslessOverflows = ['coalesce', 'block'] as const;
const overflows = [...losslessOverflows, 'drop-oldest', 'drop-newest'] as const;

const redactionNames = Object.keys(redactionRules) as (keyof typeof redactionRules)[];

/** Ten years. */
const maxRetainMs = 315_360_000_000;

/** Some of these names. */
function itemsFrom<Name extends string>(names: readonly Name[]): z.ZodType<Name[]> {
  return items.pipe(z.array(z.enum(names)));
}

/** A tap: where records go, of which streams, what of them, and what happens when it falls behind. */
const tapSchema = z
  .strictObject({
    name: z
      .string()
      .regex(/^[\w.-]+$/, 'expected letters, digits, "-", "_" or "."')
      .max(64, 'expected at most 64 characters')
      .default('tap')
      .describe('the name of the tap in logs, metrics and on the console: letters, digits, "-", "_", "."'),
    to: z
      .string()
      .refine(
        (to) =>
          /^(?:sqlite:(?!:memory:$|file:).+|file:.+|stdout:)$/.test(to) ||
          (engineKindOf(to) !== undefined && !/\s/.test(to)),
        {
          error: ({ input }) =>
            `expected sqlite:PATH, file:PATH, stdout: or the URL of an engine (${engineSchemes.join(', ')}), got ${JSON.stringify(shownPlace(String(input)))}`,
        },
      )
      .describe(
        'where records go: sqlite:PATH, file:PATH (a JSON line a record), stdout:, or the URL of an engine: redis://, nats://, kafka://, sqs://, s3:// or postgres:// (docs/engines lists their parameters)',
      ),
    passwordEnv: variableName
      .optional()
      .describe('with an engine: environment variable with its password, instead of one in the URL'),
    passwordFile: text.optional().describe('with an engine: file with its password, instead of passwordEnv'),
    models: items
      .optional()
      .describe('the models to write down, as clients name them; * stands for any text; default: all'),
    providers: items.optional().describe('the providers to write down, as models'),
    tenants: items.optional().describe('the tenants to write down, as models'),
    callers: items.optional().describe('the callers to write down, as models'),
    content: z
      .enum(['full', 'audio', 'text', 'usage'])
      .default('full')
      .describe(
        "the part of an answer that is kept: full is the provider's events, audio also the sound of conversations, text the words in them, usage only who asked, how it ended and its tokens",
      ),
    request: flag.default(false).describe('whether the body of the request is kept, too: it has the prompt'),
    refused: flag
      .default(false)
      .describe('whether requests that the gateway itself refused are written down, too'),
    redact: itemsFrom(redactionNames)
      .optional()
      .describe(
        'patterns that are replaced in all content before it is kept: email, phone, card, key; docs/redaction.md says what they find',
      ),
    gate: flag
      .default(false)
      .describe('whether readers get only what the tap has kept; what it cannot keep ends the stream'),
    lossless: flag
      .default(false)
      .describe('true refuses to start if a key of this tap could make it lose something'),
    overflow: z
      .enum(overflows)
      .optional()
      .describe(
        'what happens when the tap falls behind on a stream: coalesce merges, then the model waits; block lets the model wait; drop-oldest and drop-newest lose chunks and say which; default: coalesce with gate or lossless, otherwise drop-oldest',
      ),
    maxRecords: count(1, 1_000_000)
      .default(1000)
      .describe('chunks of one stream that may wait for the tap; merged ones count as one'),
    maxRecordBytes: size(4096)
      .default(1_048_576)
      .describe(
        'bytes of content in one record, and in all of a body that is no stream; beyond it, size and digest are kept',
      ),
    deadlineMs: duration(100)
      .default(5000)
      .describe(
        'how long nothing may be kept before streams that need the tap end, and it gives up those that do not; also the longest that one write may take',
      ),
    everyMs: duration(0, 3_600_000)
      .optional()
      .describe(
        'the least time between the beginnings of two writes, for sinks that like few large ones; what comes meanwhile is merged where it can be; answers in one piece do not wait; default: 10ms, and 0 with gate',
      ),
    shed: itemsFrom(shedParts)
      .optional()
      .describe(
        'parts that are left out of records while the tap lags: logprobs, reasoning, usage-details; records say so',
      ),
    shedAboveMs: duration(1).default(5000).describe('lag beyond which parts are left out'),
    shedBelowMs: duration(0).default(2500).describe('lag below which they are kept again'),
    spill: z
      .string()
      .min(1, 'expected a text that is not empty')
      .optional()
      .describe(
        'a folder on a disk for what the sink does not take; it is written there in order when the sink is back',
      ),
    maxSpillBytes: size(1_048_576, unbounded)
      .default(1_073_741_824)
      .describe('bytes of the spill; when it is full, the sink counts as down'),
    durability: z
      .enum(durabilities)
      .optional()
      .describe(
        'the least that a kept record has to be worth: fsync is on a disk; replicated is in the memory of several machines; memory may be lost in a crash. Less than fsync has to be asked for with gate or lossless; default: fsync with these, otherwise memory',
      ),
    groups: items
      .optional()
      .describe('with an engine: groups of its readers whose lag is measured every 10 s'),
    deadLetters: text
      .optional()
      .describe(
        'with an engine: file for records that it refuses for ever, a JSON line each; default: dead-letters-NAME.jsonl in the working directory',
      ),
    maxDeadLetterBytes: size(1024, unbounded)
      .default(67_108_864)
      .describe(
        'with an engine: size of this file; when it is full, a tap with gate or lossless is down, and others lose such records',
      ),
    maxFileBytes: size(1024, unbounded)
      .optional()
      .describe('with file: size at which the next file begins; default: 64MiB'),
    maxFileAgeMs: duration(1000, maxRetainMs)
      .optional()
      .describe('with file: age at which the next file begins; default: 24h'),
    maxFiles: count(1, 1_000_000)
      .optional()
      .describe('with file: files that are kept, the newest; default: all'),
    retainMs: duration(1000, maxRetainMs)
      .optional()
      .describe('with sqlite: age at which ended streams are removed; default: never'),
    retainBytes: size(1_048_576, unbounded)
      .optional()
      .describe(
        'with sqlite: size of the log beyond which the oldest ended streams are removed; default: none',
      ),
  })
  .refine(({ content, gate }) => !gate || content !== 'usage', {
    path: ['content'],
    error: 'expected full with gate: true, because readers get what is kept, got usage',
  })
  .refine(
    ({ gate, lossless, overflow }) => overflow === undefined || !(gate || lossless) || isLossless(overflow),
    {
      path: ['overflow'],
      error: ({ input }) =>
        `expected ${losslessOverflows.join(', ')} or nothing with gate or lossless: true, got ${cameAs(input, 'overflow')}`,
    },
  )
  .refine(
    ({ durability, gate, lossless, to }) =>
      to !== 'stdout:' || !(gate || lossless) || durability === 'memory',
    {
      path: ['durability'],
      error:
        'expected memory with gate or lossless: true and to: stdout:, which keeps nothing on a disk, got nothing',
    },
  )
  .refine(({ durability = 'memory', to }) => durability === 'memory' || to !== 'stdout:', {
    path: ['durability'],
    error: ({ input }) =>
      `expected memory with to: stdout:, which keeps nothing on a disk, got ${cameAs(input, 'durability')}`,
  })
  .refine(({ durability, to }) => durability !== 'replicated' || engineKindOf(to) !== undefined, {
    path: ['durability'],
    error: ({ input }) =>
      `expected fsync or memory with ${cameAs(input, 'to')}, which is on one disk, got replicated`,
  })
  .refine(({ gate, lossless, shed }) => shed === undefined || !(gate || lossless), {
    path: ['shed'],
    error: ({ input }) =>
      `expected nothing with gate or lossless: true, because it leaves parts out, got ${cameAs(input, 'shed')}`,
  })
  .refine(({ shedAboveMs, shedBelowMs }) => shedBelowMs < shedAboveMs, {
    path: ['shedBelowMs'],
    error: ({ input }) =>
      `expected less than shedAboveMs (${cameAs(input, 'shedAboveMs')}), got ${cameAs(input, 'shedBelowMs')}`,
  })
  .refine(onlyWith('file:', ['maxFileBytes', 'maxFileAgeMs', 'maxFiles']), {
    path: ['to'],
    error: ({ input }) =>
      `expected file:PATH with maxFileBytes, maxFileAgeMs and maxFiles, got ${cameAs(input, 'to')}`,
  })
  .refine(onlyWith('sqlite:', ['retainMs', 'retainBytes']), {
    path: ['to'],
    error: ({ input }) => `expected sqlite:PATH with retainMs and retainBytes, got ${cameAs(input, 'to')}`,
  })
  .refine(
    (tap) => engineKindOf(tap.to) !== undefined || engineOnlyKeys.every((key) => tap[key] === undefined),
    {
      path: ['to'],
      error: ({ input }) =>
        `expected the URL of an engine with ${engineOnlyKeys.join(', ')}, got ${cameAs(input, 'to')}`,
    },
  )
  .refine(({ passwordEnv, passwordFile }) => passwordEnv === undefined || passwordFile === undefined, {
    path: ['passwordFile'],
    error: 'expected passwordEnv or passwordFile, got both',
  })
  .refine(
    ({ passwordEnv, passwordFile, to }) => (passwordEnv ?? passwordFile) === undefined || !hasPassword(to),
    {
      path: ['to'],
      error: 'expected a URL without a password beside passwordEnv or passwordFile, got one with it',
    },
  );

/** What an operator has configured as a tap. */
export type TapSettings = z.infer<typeof tapSchema>;

/** A tap with what stands elsewhere. */
export interface ConfiguredTap extends TapSettings {
  /** The password of its engine. Absent: it has none, or one in its URL. */
  readonly password?: string | undefined;
}

/** What a kept record of a tap has to be worth at least. */
export function leastDurability({ durability, gate, lossless }: TapSettings): Durability {
  return durability ?? (gate || lossless ? 'fsync' : 'memory');
}

/** The file of what the engine of a tap refuses for ever. */
export function deadLettersOf({ deadLetters, name }: TapSettings): string {
  return deadLetters ?? `dead-letters-${name}.jsonl`;
}

/**
 * The keys that say how a place is written and that two taps to it have otherwise; none: one writer does for both. Without those
 * that a writer can change while it writes: the bounds of its spill.
 */
export function keysUnlike(one: ConfiguredTap, other: ConfiguredTap): readonly string[] {
  const unlike: string[] = writerKeys.filter((key) => one[key] !== other[key]);
  if (!haveOneSpill(one, other) && (one.spill ?? other.spill) !== undefined) unlike.push('spill');
  if (engineKindOf(one.to) === undefined) return unlike;
  if (one.to !== other.to) unlike.push('to');
  if (leastDurability(one) !== leastDurability(other)) unlike.push('durability');
  if (losesNothing(one) !== losesNothing(other)) unlike.push('lossless');
  if (!isDeepStrictEqual(one.groups, other.groups)) unlike.push('groups');
  return unlike;
}

/** Whether two taps have the same folder as their spill. */
export function haveOneSpill(one: TapSettings, other: TapSettings): boolean {
  return one.spill !== undefined && other.spill !== undefined && resolve(one.spill) === resolve(other.spill);
}

/** Whether two taps write their records to the same place, so that those of a spill belong there with either. */
export function haveOnePlace(one: Pick<TapSettings, 'to'>, other: Pick<TapSettings, 'to'>): boolean {
  const place = engineKindOf(one.to) === undefined ? placeOf : recordsPlace;
  return place(one.to) === place(other.to);
}

/** Whether a tap must not lose anything. */
export function losesNothing({ gate, lossless }: TapSettings): boolean {
  return gate || lossless;
}

/** What a tap does that lags. Without a word about it, only one that must lose nothing makes others wait. */
export function overflowOf(settings: TapSettings): 'block' | 'coalesce' | 'drop-newest' | 'drop-oldest' {
  return settings.overflow ?? (losesNothing(settings) ? 'coalesce' : 'drop-oldest');
}

/** What a sink is opened with. */
const writerKeys = [
  'deadLetters',
  'maxDeadLetterBytes',
  'maxFileAgeMs',
  'maxFileBytes',
  'maxFiles',
  'password',
  'retainBytes',
  'retainMs',
] as const;

/** The keys of a tap, with their descriptions. */
export const tapOptions = Object.entries(tapSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Taps as text, `name=audit,to=sqlite:audit.db`, or a list of them as texts or objects. */
export const taps = entries(tapSchema, 'to', 'expected sqlite:PATH, a URL, name=…,to=…, or a list of taps')
  .refine((value) => new Set(value.map(({ name }) => name)).size === value.length, {
    error: 'expected a different name for each, got one twice',
  })
  .refine((value) => new Set(value.map(({ to }) => placeOf(to))).size === value.length, {
    error: ({ input }) => `expected a different place (to) for each, got one twice: ${twicePlaced(input)}`,
  })
  .refine((value) => twiceSpilled(value) === undefined, {
    error: ({ input }) =>
      `expected a different folder (spill) for each, got one twice: ${twiceSpilled(input as readonly TapSettings[])}`,
  });

/** The names of taps of one spill, for people. */
function twiceSpilled(all: readonly TapSettings[]): string | undefined {
  for (const one of all) {
    const same = all.filter((other) => haveOneSpill(one, other));
    if (same.length > 1) return same.map(({ name }) => name).join(' and ');
  }
  return undefined;
}

/** The names of taps of one place, for people. */
function twicePlaced(input: unknown): string {
  const named = input as readonly Pick<ConfiguredTap, 'name' | 'to'>[];
  const byPlace = [...Map.groupBy(named, ({ to }) => placeOf(to)).values()];
  return (byPlace.find(({ length }) => length > 1) ?? []).map(({ name }) => name).join(' and ');
}

/**
 * Taps that write to one place of an engine, by the names: URLs that differ in nothing but parameters, other than those that
 * name a stream, a subject, a table or a server. Records of both are there, each under its stream and number: the second one's count as known.
 */
export function sharedPlaces(configured: readonly Pick<ConfiguredTap, 'name' | 'to'>[]): readonly string[] {
  const engines = configured.filter(({ to }) => engineKindOf(to) !== undefined);
  return [...Map.groupBy(engines, ({ to }) => recordsPlace(to)).values()]
    .filter(({ length }) => length > 1)
    .map((same) => same.map(({ name }) => name).join(' and '));
}

function recordsPlace(to: string): string {
  const [place = '', query = ''] = placeOf(to).split('?');
  const naming = new URLSearchParams(query);
  const names = ['stream', 'subject', 'table', 'domain', 'endpoint', 'host', 'region'];
  return [place, ...names.map((name) => naming.get(name))].join(' ');
}

/** What stands in a tap at a key. */
function cameAs(tap: unknown, key: string): string {
  const value: unknown = (tap as Readonly<Record<string, unknown>>)[key];
  if (typeof value !== 'string') return JSON.stringify(value);
  return key === 'to' ? shownPlace(value) : value;
}

/** A place by its only name: two taps that write to one would take each other's records for their own. */
export function placeOf(to: string): string {
  // Who writes there does not make it another place.
  if (engineKindOf(to) !== undefined)
    return to.replace(/\/\/.*@/, '//').replace(/^(rediss?:\/\/[^/?]*)\/0?(?=\?|$)/, '$1');
  const at = to.indexOf(':') + 1;
  return to.slice(0, at) + (at < to.length ? resolve(to.slice(at)) : '');
}

/** Whether a policy loses nothing. */
function isLossless(overflow: (typeof overflows)[number]): boolean {
  return (losslessOverflows as readonly string[]).includes(overflow);
}

/** Keys that say something of an engine alone. */
const engineOnlyKeys = ['passwordEnv', 'passwordFile', 'groups', 'deadLetters'] as const;

function onlyWith<Key extends string>(
  start: string,
  keys: readonly Key[],
): (tap: { readonly to: string } & Readonly<Partial<Record<Key, unknown>>>) => boolean {
  return (tap) => tap.to.startsWith(start) || keys.every((key) => tap[key] === undefined);
}
