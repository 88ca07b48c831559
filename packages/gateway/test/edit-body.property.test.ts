import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BodyScanner } from '../src/http/body-scanner.ts';
import { type BodyEdit, editBody, type JsonValue } from '../src/http/edit-body.ts';
import { ReceivedBody } from '../src/http/received-body.ts';

const names = ['a', 'b', 'max_tokens', 'topP'];
const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 2 });
/** Spellings that parsing and writing again would change. */
const oddValue = fc.constantFrom(
  '1.0',
  '12345678901234567890',
  '1E+2',
  '"\\u0061\\/"',
  '{"9":1,"1":1.50}',
  '[ ]',
);
const value = fc.oneof(
  oddValue,
  fc.jsonValue({ maxDepth: 2 }).map((json) => JSON.stringify(json)),
);

interface Entry {
  readonly name: string;
  readonly text: string;
  readonly object: readonly Entry[] | undefined;
}

/** An object in some spelling: with spaces, escapes in names, and other members between. */
const objectOf = (
  depth: number,
): fc.Arbitrary<{ readonly text: string; readonly entries: readonly Entry[] }> =>
  fc
    .uniqueArray(fc.constantFrom(...names, 'other', 'x"y', ''), { maxLength: 7 })
    .chain((used) =>
      fc.tuple(
        ...used.map((name) =>
          fc
            .tuple(
              fc.boolean(),
              fc.array(space, { minLength: 4, maxLength: 4 }),
              depth > 0 ? fc.oneof(value, objectOf(depth - 1)) : value,
            )
            .map(([isEscaped, [s0 = '', s1 = '', s2 = '', s3 = ''], inner]): [string, Entry] => {
              const first = name.charCodeAt(0).toString(16).padStart(4, '0');
              const key =
                isEscaped && name !== ''
                  ? `"\\u${first}${JSON.stringify(name.slice(1)).slice(1)}`
                  : JSON.stringify(name);
              const text = `${key}${s1}:${s2}${typeof inner === 'string' ? inner : inner.text}`;
              return [
                `${s0}${text}${s3}`,
                { name, text, object: typeof inner === 'string' ? undefined : inner.entries },
              ];
            }),
        ),
      ),
    )
    .map((pairs) => ({
      text: `{${pairs.map(([text]) => text).join(',')}}`,
      entries: pairs.map(([, entry]) => entry),
    }));

const path = fc
  .array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 })
  .map((all): [string, ...string[]] => [all[0] ?? 'a', ...all.slice(1)]);
const edit: fc.Arbitrary<BodyEdit> = fc.record({
  path,
  // JSON.stringify writes -0 as 0.
  value: fc.oneof(
    fc.constant(undefined),
    fc.jsonValue({ maxDepth: 1 }).map((json) => JSON.parse(JSON.stringify(json)) as JsonValue),
  ),
});
const isWithin = (inner: readonly string[], outer: readonly string[]): boolean =>
  outer.every((name, index) => inner[index] === name);
const editsOf = fc
  .array(edit, { maxLength: 5 })
  .filter((edits) =>
    edits.every((one, index) => edits.every((other, at) => at === index || !isWithin(one.path, other.path))),
  );

type Members = Record<string, unknown>;

/** The edit of a parsed object. */
function apply(object: Members, [first, ...rest]: readonly string[], to: JsonValue | undefined): void {
  if (first === undefined) return;
  if (rest.length === 0) {
    if (to === undefined) delete object[first];
    else object[first] = to;
    return;
  }
  const inside = object[first];
  if (typeof inside === 'object' && inside !== null && !Array.isArray(inside)) {
    apply(inside as Members, rest, to);
  } else if (to !== undefined) {
    const made: Members = {};
    apply(made, rest, to);
    object[first] = made;
  }
}

/** The texts of the members that no edit is about. */
function untouched(entries: readonly Entry[], paths: readonly (readonly string[])[]): string[] {
  return entries.flatMap(({ name, object, text }) => {
    const inside = paths.filter(([first]) => first === name).map(([, ...rest]) => rest);
    if (inside.length === 0) return [text];
    return inside.some((rest) => rest.length === 0) || object === undefined ? [] : untouched(object, inside);
  });
}

function edited(
  text: string,
  edits: readonly BodyEdit[],
  sizes: readonly number[],
): { pieces: Buffer[]; body: ReceivedBody } {
  const isOfSeveral = edits.length > 0 && edits.every(({ stays }) => stays !== undefined);
  const scanner = new BodyScanner({ names, optional: isOfSeveral ? names : [] });
  const body = new ReceivedBody({ takeRoom: () => true, scanner });
  const bytes = Buffer.from(text);
  for (let at = 0, count = 0; at < bytes.length; count += 1) {
    const end = at + (sizes[count % sizes.length] ?? bytes.length);
    body.add(bytes.subarray(at, end));
    at = end;
  }
  return { pieces: editBody(body, scanner.end().object, edits), body };
}

test('an edited body says what the edits say, and every byte of the other members is as it was', () => {
  fc.assert(
    fc.property(
      objectOf(2),
      editsOf,
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 9 }),
      fc.constantFrom('', '\u{feff}', ' \n'),
      ({ entries, text }, edits, sizes, mark) => {
        const { body, pieces } = edited(`${mark}${text}\n`, edits, sizes);
        const result = Buffer.concat(pieces).toString();
        const expected = JSON.parse(text) as Members;
        for (const { path: at, value: to } of edits) apply(expected, at, to);
        expect(result.startsWith(mark) && result.endsWith('}\n')).toBe(true);
        const json = result.slice(mark.length);
        expect(JSON.parse(json)).toEqual(expected);
        // What is there twice would be refused.
        expect(() => edited(json, [], [])).not.toThrow();
        for (const kept of untouched(
          entries,
          edits.map(({ path: all }) => all),
        ))
          expect(json).toContain(kept);
        // Nothing is copied but what was written anew.
        const own = new Set(body.parts().map(({ buffer }) => buffer));
        const anew = pieces
          .filter(({ buffer }) => !own.has(buffer))
          .reduce((sum, { length }) => sum + length, 0);
        const most = edits.reduce(
          (sum, { path: all, value: to }) => sum + JSON.stringify([...all, to]).length + 10 * all.length,
          0,
        );
        expect(anew).toBeLessThanOrEqual(most);
      },
    ),
    { numRuns: 1500 },
  );
});

test.each([
  ['{}', '{"a":1}'],
  ['{ }', '{"a":1 }'],
  ['{ "c" : 1.0 }', '{"a":1, "c" : 1.0 }'],
  ['{"a":[2,3], "b": 2}', '{"a":1, "b": 2}'],
])('a member is put in front, or its value is replaced: %s', (text, expected) => {
  const { pieces } = edited(text, [{ path: ['a'], value: 1 }], [3]);
  expect(Buffer.concat(pieces).toString()).toBe(expected);
});

test.each([
  ['{"a":1}', '{}'],
  ['{ "a" : 1 , "b" : 2 , "c" : 3 }', '{   "c" : 3 }'],
  ['{"c":3,"a":1,"b":2}', '{"c":3}'],
  ['{"a":1,"c":3,"b":2}', '{"c":3}'],
  ['{"b":1,"a":3}', '{}'],
])('a member goes with one comma: %s', (text, expected) => {
  const none = (name: string): BodyEdit => ({ path: [name], value: undefined });
  const { pieces } = edited(text, [none('a'), none('b')], [3]);
  expect(Buffer.concat(pieces).toString()).toBe(expected);
});

test.each([
  ['{"a":[{"b":1,"c":1.0}, {"c":[{"b":1}]} ,{}]}', '{"a":[{"b":9,"c":1.0}, {"b":9,"c":[{"b":1}]} ,{"b":9}]}'],
  ['{"a":[{"t":"}]\\\\\\"","b":2},[{"b":1}],3,"{"]}', '{"a":[{"t":"}]\\\\\\"","b":9},[{"b":1}],3,"{"]}'],
  ['{"a":{"b":1}}', '{"a":{"b":1}}'],
  ['{"c":[{}]}', '{"c":[{}]}'],
])('each object of a list is edited, and nothing else: %s', (text, expected) => {
  const { pieces } = edited(text, [{ path: ['a', '*', 'b'], value: 9 }], [3]);
  expect(Buffer.concat(pieces).toString()).toBe(expected);
});

test.each([
  ['{"a":1,"b":5,"a":9}', '{"a":1,"b":5,"a":3}'],
  ['{"a":{"b":7},"\\u0061":{"b":2,"b":8},"a":[]}', '{"a":{"b":3},"\\u0061":{"b":2,"b":3},"a":[]}'],
  ['{"a":"x","a":{}}', '{"a":3,"a":{}}'],
])('of several, those are edited that may not stay, and none is added: %s', (text, expected) => {
  const inner = text.includes('"b":7');
  const stays = (each: unknown): boolean =>
    each === undefined || (typeof each === 'number' ? each <= 3 : typeof each === 'object');
  const { pieces } = edited(text, [{ path: inner ? ['a', 'b'] : ['a'], value: 3, stays }], [3]);
  expect(Buffer.concat(pieces).toString()).toBe(expected);
  const all: BodyEdit = { path: ['a'], value: undefined, stays: () => false };
  const rest = text.includes('"b":5') ? '{"b":5}' : '{}';
  expect(Buffer.concat(edited(text, [all], [3]).pieces).toString()).toBe(rest);
});

test('what is there twice cannot be edited, in the object or inside of it', () => {
  const within: BodyEdit = { path: ['a', 'b'], value: 1 };
  expect(() => edited('{"a":{"b":1,"\\u0062":2}}', [within], [5])).toThrow('b: expected one, got several.');
  expect(() => edited('{"a":{},"\\u0061":{}}', [within], [5])).toThrow('a: expected one, got several.');
  expect(() => edited('{}', [{ path: ['unknown'], value: 1 }], [5])).toThrow(TypeError);
});
