import { resolve } from 'node:path';
import { z } from 'zod';
import { redactionRules } from '@spillway/server/tap/content/redactor';
import { shedParts } from '@spillway/server/tap/content/shed-parts';
import { entries } from './entries.ts';
import { count, duration, flag, items, size, unbounded } from './values.ts';

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
      .regex(
        /^(?:sqlite:(?!:memory:$|file:).+|file:.+|stdout:)$/,
        'expected sqlite:PATH, file:PATH or stdout:',
      )
      .describe('where records go: sqlite:PATH, file:PATH (a JSON line a record) or stdout:'),
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
      .enum(['fsync', 'memory'])
      .optional()
      .describe(
        'what a kept record has to be worth; fsync is on the disk; memory may be lost in a crash, and has to be asked for with gate or lossless; default: fsync with these, otherwise memory',
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
  .refine(({ durability, to }) => durability !== 'fsync' || to !== 'stdout:', {
    path: ['durability'],
    error: 'expected memory with to: stdout:, which keeps nothing on a disk, got fsync',
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
  });

/** What an operator has configured as a tap. */
export type TapSettings = z.infer<typeof tapSchema>;

/** Whether two taps to one place write there in the same way, so that one writer does for both. */
export function areWrittenAlike(one: TapSettings, other: TapSettings): boolean {
  return (
    writerKeys.every((key) => one[key] === other[key]) &&
    // A spill leaves its engine before the tap's deadline.
    (one.spill === undefined || one.deadlineMs === other.deadlineMs)
  );
}

/** What a sink is opened with. */
const writerKeys = [
  'maxFileAgeMs',
  'maxFileBytes',
  'maxFiles',
  'maxSpillBytes',
  'retainBytes',
  'retainMs',
  'spill',
] as const;

/** The keys of a tap, with their descriptions. */
export const tapOptions = Object.entries(tapSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Taps as text, `name=audit,to=sqlite:audit.db`, or a list of them as texts or objects. */
export const taps = entries(tapSchema, 'to', 'expected sqlite:PATH, name=…,to=…, or a list of taps')
  .refine((value) => new Set(value.map(({ name }) => name)).size === value.length, {
    error: 'expected a different name for each, got one twice',
  })
  .refine((value) => new Set(value.map(({ to }) => placeOf(to))).size === value.length, {
    error: 'expected a different place (to) for each, got one twice',
  });

/** What stands in a tap at a key. */
function cameAs(tap: unknown, key: string): string {
  const value: unknown = (tap as Readonly<Record<string, unknown>>)[key];
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A place by its only name: two taps that write to one would take each other's records for their own. */
export function placeOf(to: string): string {
  const at = to.indexOf(':') + 1;
  return to.slice(0, at) + (at < to.length ? resolve(to.slice(at)) : '');
}

/** Whether a policy loses nothing. */
function isLossless(overflow: (typeof overflows)[number]): boolean {
  return (losslessOverflows as readonly string[]).includes(overflow);
}

function onlyWith<Key extends string>(
  start: string,
  keys: readonly Key[],
): (tap: { readonly to: string } & Readonly<Partial<Record<Key, unknown>>>) => boolean {
  return (tap) => tap.to.startsWith(start) || keys.every((key) => tap[key] === undefined);
}
