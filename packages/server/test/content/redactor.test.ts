import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkProperty } from '../../../core/test/support/property.ts';
import { createMaskRule } from '../../src/tap/content/mask-rule.ts';
import type { RedactionRule } from '../../src/tap/content/redaction-rule.ts';
import { createRedactor, redactionRules, redactText } from '../../src/tap/content/redactor.ts';
import { allRules, examples, nothings } from './examples.ts';

/** What is kept of a text that comes in these parts. */
function redactParts(parts: readonly string[], rules: readonly RedactionRule[], isJson = false): string {
  const redactor = createRedactor(rules, isJson);
  return parts.map((part) => redactor.push(part)).join('') + redactor.flush();
}

const patient = createMaskRule('patient', ['PAT-######', 'Project Falcon', '??/##', '11-falcon', 'straße #']);
const rules = [...allRules, patient];

describe('each rule', () => {
  test.each(examples)('$rule: $text', ({ kept, rule, text }) => {
    expect(redactText(text, [redactionRules[rule]]).text).toBe(kept);
    expect(redactText(text, allRules).text).toBe(kept);
  });

  test.each(examples)('$rule, cut at every place: $text', ({ kept, text }) => {
    for (let at = 0; at <= text.length; at += 1)
      expect(redactParts([text.slice(0, at), text.slice(at)], allRules), `at ${at}`).toBe(kept);
    expect(redactParts(Array.from(text), allRules), 'one by one').toBe(kept);
  });

  test.each(nothings)('leaves %s', (text) => {
    expect(redactText(text, allRules)).toEqual({ text, redacted: 0 });
  });

  test('counts', () => {
    expect(redactText('a@b.cc, +14155552671, x', allRules).redacted).toBe(2);
  });
});

describe('a mask', () => {
  test.each([
    ['see PAT-123456.', 'see [patient].'],
    ['pat-123456', '[patient]'],
    ['xPAT-123456, PAT-1234567', 'xPAT-123456, PAT-1234567'],
    ['the project falcon team', 'the [patient] team'],
    ['ab/12 abc/12', '[patient] abc/12'],
    ['Straße 7 STRAßE 8', '[patient] [patient]'],
  ])('%s', (text, kept) => {
    expect(redactText(text, [patient]).text).toBe(kept);
    expect(redactParts(Array.from(text), [patient])).toBe(kept);
  });

  test.each([[''], ['##'], ['? ?'], ['x'.repeat(129)]])('refuses %s', (mask) => {
    expect(() => createMaskRule('x', [mask])).toThrow(expect.objectContaining({ code: 'invalid_option' }));
  });

  test('refuses a name that could be read as something else, and no mask', () => {
    expect(() => createMaskRule('a]b', ['x'])).toThrow(expect.objectContaining({ code: 'invalid_option' }));
    expect(() => createMaskRule('', ['x'])).toThrow(expect.objectContaining({ code: 'invalid_option' }));
    expect(() => createMaskRule('x', [])).toThrow(expect.objectContaining({ code: 'invalid_option' }));
  });
});

describe('JSON', () => {
  test('stays JSON where a number is replaced', () => {
    const text =
      '{"card":4111111111111111,"as text":"4111111111111111","n":-4111111111111111,"q":"\\"4111111111111111"}';
    const kept = '{"card":0,"as text":"[card]","n":-0,"q":"\\"[card]"}';
    for (let at = 0; at <= text.length; at += 1)
      expect(redactParts([text.slice(0, at), text.slice(at)], allRules, true)).toBe(kept);
    expect(redactParts(Array.from(text), allRules, true)).toBe(kept);
  });

  test('has escapes for any character of a match, which stand for it', () => {
    const address = 'ada@example.com';
    for (let at = 0; at < address.length; at += 1) {
      const escaped = `\\u${address.charCodeAt(at).toString(16).padStart(4, '0').toUpperCase()}`;
      const text = `"${address.slice(0, at)}${escaped}${address.slice(at + 1)}"`;
      expect(redactParts(Array.from(text), allRules, true)).toBe('"[email]"');
    }
    expect(redactParts(Array.from('"a\\u0062\\/c d\\n\\ud83d\\ude00"'), allRules, true)).toBe(
      '"a\\u0062\\/c d\\n\\ud83d\\ude00"',
    );
  });
});

describe('what is held back', () => {
  test('is less than the longest match, whatever comes', () => {
    const bound = Math.max(...rules.map(({ maxLength }) => maxLength)) * 6;
    for (const piece of [
      'a',
      '4',
      '4 ',
      '+1',
      'sk-',
      '-',
      'a@',
      'a.',
      '\\u0061',
      '\u00ad',
      'eyJa',
      '-----BEGIN ',
      'PAT-1',
    ]) {
      const redactor = createRedactor(rules);
      for (let turn = 0; turn < 3000; turn += 1) {
        redactor.push(piece);
        expect(redactor.heldLength).toBeLessThan(bound);
      }
    }
  });

  test('is nothing of a key whose beginning is known', () => {
    const redactor = createRedactor(allRules);
    redactor.push('sk-abcdefghijkl1234567890');
    expect(redactor.heldLength).toBe(0);
    expect(redactor.push('x'.repeat(100_000))).toBe('');
    expect(redactor.heldLength).toBe(0);
    expect(redactor.push(' y')).toBe(' ');
  });

  test('does not take a character apart', () => {
    const redactor = createRedactor(allRules);
    const parts = '\ud83d\ude00 and \ud83c\udf0a'.split('').map((half) => redactor.push(half));
    for (const part of [...parts, redactor.flush()]) expect(part.isWellFormed()).toBe(true);
  });
});

test('a rule of a program that never decides costs its bound, and finds nothing', () => {
  const never: RedactionRule = { name: 'never', maxLength: 10, match: () => undefined };
  expect(redactParts(Array.from('abcdefghijklmnopqrstuvwxyz'), [never])).toBe('abcdefghijklmnopqrstuvwxyz');
  const redactor = createRedactor([never]);
  for (const character of 'abcdefghijklmnopqrstuvwxyz') {
    redactor.push(character);
    expect(redactor.heldLength).toBeLessThan(10);
  }
});

test('a rule has a name and a bound', () => {
  const match = (): number => 0;
  for (const rule of [
    { name: 'A', maxLength: 1, match },
    { name: 'a', maxLength: 0, match },
    { name: 'a', maxLength: 4097, match },
    { name: 'a', maxLength: Number.NaN, match },
  ])
    expect(() => createRedactor([rule])).toThrow(expect.objectContaining({ code: 'invalid_option' }));
});

/** Pieces that make matches, nearly make them, and stand between them. */
const fragments = fc.constantFrom(
  'a',
  'Z',
  '0',
  '1',
  '4',
  '7',
  ' ',
  '.',
  '-',
  '@',
  '+',
  '(',
  ')',
  '/',
  '_',
  '%',
  '\n',
  '\\',
  '"',
  'é',
  '中',
  '😀',
  '\\u0040',
  '\\u00',
  '\\n',
  '\\/',
  '\u00ad',
  '\u00a0',
  '\u2011',
  '＠',
  '４',
  '\ud83d',
  'com',
  'x.com',
  'a@b.cc',
  '@b.cc',
  '4111111111111111',
  '4111 1111',
  '1111-1111',
  '+49',
  '0049',
  '030',
  '415-555-2671',
  '415 555 2671 ',
  '0171 2345678',
  '+49 30 1234 ',
  '4111 1111 1111 1111',
  '99@x.com',
  '(415) 555',
  '1234567',
  'sk-',
  'sk-abc',
  'AKIA',
  'AKIAIOSFODNN7EXAMPLE',
  'ghp_',
  'xoxb-',
  'eyJ',
  'abcdefghij0123456789',
  'Bearer ',
  'bearer',
  '-----',
  '-----BEGIN ',
  'PRIVATE KEY',
  '-----END ',
  'PAT-',
  '123456',
  'project',
  'falcon',
  '[email]',
  '[key]',
);
const texts = fc.array(fragments, { maxLength: 24 }).map((parts) => parts.join(''));

/** A text, and the places where it is cut. */
const cutTexts = fc.tuple(texts, fc.array(fc.nat({ max: 300 }), { maxLength: 12 })).map(([text, places]) => {
  const cuts = [0, ...places.map((place) => place % (text.length + 1)), text.length].toSorted(
    (a, b) => a - b,
  );
  return { text, parts: cuts.slice(1).map((end, index) => text.slice(cuts[index], end)) };
});

test.each([
  ['415-555-2671-4111111111111111', '[phone]-[card]'],
  ['030 123 4567 4111 1111 1111 1111', '[phone] [card]'],
  ['+49 30 1234567 4111 1111 1111 1111', '[phone] [card]'],
  ['030 12 4111 1111 1111 1111', '030 12 [card]'],
  ['415 555 2671 99@example.com', '[phone] [email]'],
  ['0171 2345678 123456', '0171 2345678 123456'],
])('a number ends where what another rule finds begins: %s', (text, kept) => {
  expect(redactText(text, allRules).text).toBe(kept);
  // Whatever comes first in the list.
  expect(redactText(text, allRules.toReversed()).text).toBe(kept);
});

test('however a text is cut, the same is kept', async () => {
  await checkProperty(
    'redactor: any cut',
    fc.property(cutTexts, fc.boolean(), ({ parts, text }, isJson) => {
      expect(redactParts(parts, rules, isJson)).toBe(redactParts([text], rules, isJson));
      expect(redactParts(text.split(''), rules, isJson)).toBe(redactParts([text], rules, isJson));
    }),
    3000,
  );
});

test('in what is kept no rule finds anything', async () => {
  await checkProperty(
    'redactor: nothing left',
    fc.property(texts, (text) => {
      const kept = redactText(text, rules).text;
      expect(redactText(kept, rules)).toEqual({ text: kept, redacted: 0 });
    }),
    3000,
  );
});

test('any text takes linear time', () => {
  const pieces = [
    'a',
    'a.',
    'a@',
    'a@a',
    'a@a.',
    'a-',
    '@',
    '.',
    '4',
    '41',
    '4 ',
    '4-',
    '41 ',
    '0',
    '0 ',
    '01 ',
    '+',
    '+1',
    '+1 ',
    '(',
    '-',
    '-----',
    '-----BEGIN ',
    '-----BEGIN A',
    'sk-',
    'sk-a',
    'sk-abcdefghijklmnopqrstuvwxyz-',
    'AKIA',
    'eyJ',
    'Bearer ',
    '\\',
    '\\u',
    '\\u00',
    '\\u0061',
    '\u00ad',
    '\u00a0',
    'é',
    '中',
    'a@b.cc ',
    '4111111111111111 ',
    'PAT-',
    'PAT-12345',
  ];
  for (const piece of pieces) {
    const [small, large] = [500, 4000].map((times) => looksAt(piece.repeat(times)));
    // Eight times the text; quadratic time would be 64 times as much.
    expect(large, JSON.stringify(piece)).toBeLessThan(((small ?? 0) + 1000) * 9);
    expect(large, JSON.stringify(piece)).toBeLessThan(piece.length * 4000 * 250);
    // What is around the rules: in quadratic time, this would not end before the test does.
    redactText(piece.repeat(50_000), rules);
  }
});

/** How many characters the rules look at in a text. */
function looksAt(text: string): number {
  let looks = 0;
  class Counted extends String {
    override charCodeAt(at: number): number {
      looks += 1;
      return super.charCodeAt(at);
    }
    override startsWith(prefix: string, at: number): boolean {
      looks += prefix.length;
      return super.startsWith(prefix, at);
    }
    override slice(start: number, end?: number): string {
      looks += (end ?? this.length) - start;
      return super.slice(start, end);
    }
  }
  const counted = rules.map((rule): RedactionRule => ({
    ...rule,
    match: (seen, at, others) => {
      looks += 1;
      return rule.match({ ...seen, text: new Counted(seen.text) as unknown as string }, at, others);
    },
  }));
  redactText(text, counted);
  return looks;
}
