import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BodyScanner, maxBodyDepth } from '../src/http/body-scanner.ts';
import { ReceivedBody } from '../src/http/received-body.ts';
import { GatewayError } from '@spillway/server/errors';
import { modelEdit, readRequestBody, type RequestBody } from '../src/http/request-body.ts';

const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 3 });

/** A letter, in one of the ways in which JSON may have it. */
function letterText(letter: string): fc.Arbitrary<string> {
  const hex = letter.charCodeAt(0).toString(16).padStart(4, '0');
  return fc.constantFrom(letter, `\\u${hex}`, `\\u${hex.toUpperCase()}`);
}

function nameText(name: string): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constant(`"${name}"`),
    fc.tuple(...Array.from(name, letterText)).map((letters) => `"${letters.join('')}"`),
  );
}

const stringText = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify(text)),
  // Long ones are looked at in another way.
  fc
    .array(fc.constantFrom('x'.repeat(70), '"', '\\', 'é', '{'), { maxLength: 6 })
    .map((parts) => JSON.stringify(parts.join(''))),
  // Surrogates by themselves are escaped.
  fc.array(fc.nat(0xffff), { maxLength: 4 }).map((codes) => JSON.stringify(String.fromCharCode(...codes))),
  fc.constantFrom(
    '""',
    '"\\\\"',
    '"\\""',
    '"\\\\\\""',
    '"{\\"model\\":\\"x\\"}"',
    '"\\/\\b\\f\\n\\r\\t"',
    '"]},:"',
  ),
);
const numberText = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.constantFrom('-0', '0.0', '1E+400', '12345678901234567890', '1e-7'),
);
const modelText = fc.oneof(
  fc.constantFrom(
    '""',
    '"m"',
    '"provider/m"',
    '"\\u006d\\/x"',
    `"${'m'.repeat(512)}"`,
    `"${'m'.repeat(513)}"`,
  ),
  fc.nat(4000).map((length) => `"${'\\u0061'.repeat(length)}"`),
  stringText,
);

interface Entry {
  readonly key: string;
  readonly value: string;
}

function objectText(entries: readonly Entry[], spaces: readonly string[]): string {
  let count = 0;
  const gap = (): string => spaces[count++ % spaces.length] ?? '';
  const pairs = entries.map(({ key, value }) => `${gap()}${key}${gap()}:${gap()}${value}${gap()}`);
  return `${gap()}{${pairs.length === 0 ? gap() : pairs.join(',')}}${gap()}`;
}

const { entries: entriesOf, value: anyValue } = fc.letrec<{ value: string; entries: Entry[] }>((tie) => ({
  entries: fc.array(
    fc.oneof(
      fc.record({
        key: fc.oneof(
          nameText('model'),
          nameText('stream'),
          stringText,
          fc.constantFrom('"models"', '"mode"', '"Model"', '"m\\u006fdell"', '"stream\\n"'),
        ),
        value: tie('value'),
      }),
      fc.record({ key: nameText('model'), value: modelText }),
      fc.record({ key: nameText('stream'), value: fc.constantFrom('true', 'false', 'null', '0', '"true"') }),
    ),
    { maxLength: 4 },
  ),
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('true', 'false', 'null', '[]', '{}'),
    numberText,
    stringText,
    fc.array(tie('value'), { maxLength: 3 }).map((items) => `[${items.join(' ,')}]`),
    fc
      .tuple(tie('entries'), fc.array(space, { minLength: 1, maxLength: 4 }))
      .map(([all, gaps]) => objectText(all, gaps)),
  ),
}));

const cutsOf = fc.oneof(
  fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 40 }),
  fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 40 }),
);

/** A body that came in pieces: of these sizes, over and over. */
function received(bytes: Buffer, cuts: readonly number[]): ReceivedBody {
  const body = new ReceivedBody({ takeRoom: () => true, scanner: new BodyScanner() });
  for (let at = 0, count = 0; at < bytes.length; count += 1) {
    const end = at + (cuts[count % cuts.length] ?? bytes.length);
    expect(body.add(bytes.subarray(at, end))).toBe(true);
    at = end;
  }
  return body;
}

/** What is read of it, or the message of why it is refused. Anything else than a refusal is thrown. */
function outcome(body: ReceivedBody): RequestBody | string {
  try {
    return readRequestBody(body) ?? 'nobody has looked';
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'invalid_request') return error.message;
    throw error;
  }
}

function named(outcomeOf: RequestBody | string): unknown {
  return typeof outcomeOf === 'string' ? outcomeOf : { model: outcomeOf.model, stream: outcomeOf.stream };
}

test('1.2 an object is read as JSON.parse reads it, and only its model changes, however it is cut', () => {
  fc.assert(
    fc.property(entriesOf, fc.array(space, { minLength: 1, maxLength: 5 }), cutsOf, (entries, gaps, cuts) => {
      const text = objectText(entries, gaps);
      const mark = cuts.length % 2 === 0 ? '' : '\ufeff';
      const read = outcome(received(Buffer.from(mark + text), cuts));
      const count = (name: string): number => entries.filter(({ key }) => JSON.parse(key) === name).length;
      const isAmbiguous = count('model') > 1 || count('stream') > 1;
      const { model, stream } = JSON.parse(text) as Record<string, unknown>;
      const isTooLong = typeof model === 'string' && model.length > 512;
      if (isAmbiguous || isTooLong) {
        expect(read).toMatch(isAmbiguous ? /: expected one, got several/ : /^model: expected at most 512/);
        return;
      }
      const isModel = typeof model === 'string';
      expect(named(read)).toEqual({ model: isModel ? model : undefined, stream: stream === true });
      if (typeof read === 'string' || !isModel) return;
      const renamed = entries.map(({ key, value }) => ({
        key,
        value: JSON.parse(key) === 'model' ? JSON.stringify(model.slice(1)) : value,
      }));
      expect(Buffer.concat(read.with([modelEdit(model.slice(1))])).toString()).toBe(
        mark + objectText(renamed, gaps),
      );
    }),
    { numRuns: 2000 },
  );
});

test('values of other kinds are refused as what they are', () => {
  fc.assert(
    fc.property(anyValue, cutsOf, (text, cuts) => {
      fc.pre(!text.trimStart().startsWith('{'));
      expect(outcome(received(Buffer.from(text), cuts))).toMatch(/^The body: expected a JSON object, got /);
    }),
  );
});

test('bytes of any kind are read or refused, the same however they are cut, and what is JSON is never refused as none', () => {
  const token = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '\\',
    'u006d',
    '1',
    'true',
    ' ',
    '"model"',
    '"m"',
    '\0',
    'x'.repeat(70),
  );
  const bytesOf = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.array(token, { maxLength: 20 }).map((tokens) => Buffer.from(`{"model":"m",${tokens.join('')}}`)),
    fc.array(token, { maxLength: 20 }).map((tokens) => Buffer.from(tokens.join(''))),
    // A byte order mark that is whole, in part, or not at the start.
    fc
      .array(fc.constantFrom(0xef, 0xbb, 0xbf, 0x20, 0x31, 0x2d), { maxLength: 4 })
      .map((start) => Buffer.concat([Buffer.from(start), Buffer.from('{"model":"m"}')])),
  );
  fc.assert(
    fc.property(bytesOf, cutsOf, (bytes, cuts) => {
      const read = outcome(received(bytes, cuts));
      expect(named(read)).toEqual(named(outcome(ReceivedBody.whole(bytes, new BodyScanner()))));
      expect(named(read)).toEqual(named(outcome(received(bytes, [1]))));
      if (read === 'The body: expected a JSON object, got something that is no JSON.')
        expect(() => JSON.parse(bytes.toString()) as unknown).toThrow(SyntaxError);
    }),
    { numRuns: 5000 },
  );
});

test('depth costs nothing up to its bound, and is refused by name beyond it', () => {
  const nested = (depth: number): Buffer =>
    Buffer.from(`{"model":"m","a":${'[{"b":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}}`);
  expect(named(outcome(received(nested(maxBodyDepth - 2), [7])))).toEqual({ model: 'm', stream: false });
  expect(outcome(received(nested(maxBodyDepth), [7]))).toBe(
    'The body: expected at most 1000 objects and arrays inside of each other, got more.',
  );
  expect(outcome(ReceivedBody.whole(nested(1_000_000), new BodyScanner()))).toMatch(/at most 1000/);
});

test('promise 1: a body costs what its room says, however small the pieces are in which it comes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 60 }), (sizes) => {
      let roomBytes = 0;
      let blocks = 0;
      const takeRoom = (bytes: number): boolean => {
        roomBytes += bytes;
        blocks += 1;
        return true;
      };
      const body = new ReceivedBody({ takeRoom, scanner: new BodyScanner() });
      const pieces = sizes.map((size, index) => Buffer.alloc(size, index));
      for (const piece of pieces) body.add(piece);
      const bytes = Buffer.concat(pieces);
      expect(body.byteLength).toBe(bytes.length);
      expect(Buffer.concat(body.parts()).equals(bytes)).toBe(true);
      expect(roomBytes - bytes.length).toBeLessThanOrEqual(Math.min(bytes.length, 65_536));
      expect(blocks).toBeLessThanOrEqual(20 + bytes.length / 32_768);
      // What is held is what was counted, and nothing of a larger buffer.
      const held = new Set(body.parts().map(({ buffer }) => buffer));
      expect([...held].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(roomBytes);
    }),
  );
  const body = new ReceivedBody({ takeRoom: () => true, scanner: new BodyScanner() });
  for (let count = 0; count < 100_000; count += 1) body.add(Buffer.from('x'));
  expect(body.parts().length).toBeLessThan(25);
});
