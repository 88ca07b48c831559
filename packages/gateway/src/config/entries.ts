import { z } from 'zod';

/**
 * Entries as text: `name=groq,url=https://…`, with spaces between several of them. `bareKey`: the key of an entry that
 * is a value alone, such as a URL. A word behind pairs that is neither a pair nor a URL goes on with their last value, as in
 * `requests=10/s burst 20`.
 */
function readEntries(value: string, bareKey: string): unknown[] {
  return value
    .trim()
    .split(/\s+(?=\w+=|[\w+.-]*:)/)
    .flatMap((part) => (isPairs(part) ? [part] : part.split(/\s+/)))
    .filter((part) => part !== '')
    .map((part) => {
      if (!isPairs(part)) return { [bareKey]: part };
      return Object.fromEntries(
        splitPairs(part).map((pair) => {
          const at = pair.indexOf('=');
          return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
        }),
      ) as unknown;
    });
}

function isPairs(part: string): boolean {
  return /^\w+=/.test(part);
}

/** A URL of several hosts has commas: `to=kafka://one:9092,two:9092/llm`. What is no pair behind it belongs to it. */
function splitPairs(part: string): string[] {
  const pairs: string[] = [];
  for (const piece of part.split(',')) {
    const before = pairs.at(-1) ?? '';
    if (/^to=[^/]+:\/\//.test(before) && !isPairs(piece)) pairs.splice(-1, 1, `${before},${piece}`);
    else pairs.push(piece);
  }
  return pairs;
}

/** A setting that is a list of entries: texts, which may have several each, or objects. */
export function entries<Schema extends z.ZodType>(
  schema: Schema,
  bareKey: string,
  expected: string,
): z.ZodType<z.output<Schema>[]> {
  return z
    .union([z.string(), z.array(z.unknown())], { error: expected })
    .transform((value) => listEntries(value, bareKey))
    .pipe(z.array(schema));
}

/** A setting that is one entry: a text or an object. */
export function oneEntry<Schema extends z.ZodType>(
  schema: Schema,
  bareKey: string,
  expected: string,
): z.ZodType<z.output<Schema>> {
  return z
    .union([z.string(), z.record(z.string(), z.unknown())], { error: expected })
    .transform((value, context): unknown => {
      const [first, ...rest] = listEntries(value, bareKey);
      if (first !== undefined && rest.length === 0) return first;
      context.addIssue({
        code: 'custom',
        message: `${expected}, got ${rest.length === 0 ? 'none' : 'several'}`,
      });
      return z.NEVER;
    })
    .pipe(schema);
}

function listEntries(value: unknown, bareKey: string): unknown[] {
  return [value]
    .flat()
    .flatMap((entry) => (typeof entry === 'string' ? readEntries(entry, bareKey) : [entry]));
}

/** The name that an entry of a setting gives itself, for messages; `undefined`: it has none, or one that is no name. */
export function entryName(value: unknown, index: PropertyKey | undefined): string | undefined {
  const entry: unknown = listEntries(value, '')[Number(index)];
  const name: unknown =
    typeof entry === 'object' && entry !== null && 'name' in entry ? entry.name : undefined;
  return typeof name === 'string' && /^(?:[\w.-]{1,64}|\*)$/.test(name) ? name : undefined;
}
