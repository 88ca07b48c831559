import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ApiKey } from '../src/config/api-key.ts';
import { readApiKeys } from '../src/config/read-api-keys.ts';

const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
const plainly = (keys: readonly ApiKey[]): object[] =>
  keys.map(({ digest, name, tenant }) => ({ name, tenant, digest: digest.toString('hex') }));
const inVariable = (text: string): ApiKey[] => readApiKeys({ variable: 'KEYS', text });
const inFile = (text: string): ApiKey[] =>
  readApiKeys({ variable: 'KEYS', text: '', file: { name: 'keys.txt', text } });

const part = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/);
const name = fc.oneof(
  part,
  fc.tuple(part, part).map((parts) => parts.join('/')),
);
/** Whatever a key may have today: all but what separates keys. */
const word = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
    fc.stringMatching(/^[a-zA-Z0-9+/_=-]{1,40}$/),
    fc.stringMatching(/^[a-z]{1,4}={0,2}[a-zA-Z]{0,4}={0,2}$/),
  )
  .filter((text) => /^[^\s,]+$/.test(text));
/** The name of a text in front of its first "=", if it can be one. */
const nameIn = (text: string): string | undefined =>
  /^([a-z0-9][a-z0-9._-]{0,63}(?:\/[a-z0-9][a-z0-9._-]{0,63})?)=/.exec(text)?.[1];

describe('keys in an environment variable', () => {
  test('a name and a key are what they were, whatever the key has in it', () => {
    fc.assert(
      fc.property(
        name,
        word.filter((key) => !key.startsWith('=')),
        (called, key) => {
          const [tenant] = called.split('/');
          expect(plainly(inVariable(`${called}=${key}`))).toEqual([
            { name: called, tenant, digest: sha256(key) },
          ]);
        },
      ),
    );
  });

  test('a key without "=", or with padding behind what is no name, is a key as before', () => {
    fc.assert(
      fc.property(word, fc.constantFrom('', '=', '=='), (start, padding) => {
        const key = start.replaceAll('=', '') + padding;
        fc.pre(nameIn(key) === undefined && !key.startsWith('=') && key !== '');
        const called = sha256(key).slice(0, 8);
        expect(plainly(inVariable(key))).toEqual([{ name: called, tenant: called, digest: sha256(key) }]);
      }),
    );
  });

  test('any text is read as the key that it is, or as a name and the key behind it, or refused', () => {
    let refused = 0;
    fc.assert(
      fc.property(word, (text) => {
        let keys: ApiKey[];
        try {
          keys = inVariable(text);
        } catch {
          refused += 1;
          return;
        }
        const called = nameIn(text);
        const key = called === undefined ? text : text.slice(called.length + 1);
        expect(key).not.toMatch(/^=*$/);
        expect(keys.map(({ digest }) => digest.toString('hex'))).toEqual([sha256(key)]);
        expect(keys[0]?.name).toBe(called ?? sha256(text).slice(0, 8));
      }),
      { numRuns: 1000 },
    );
    expect(refused).toBeGreaterThan(0);
  });

  test('an error says which key it is, and nothing of any', () => {
    const secret = word.map((text) => `§${text.replaceAll('§', '')}§`);
    const listed = fc.oneof(
      secret,
      fc.tuple(part, secret).map(([called, key]) => `${called}=${key}`),
      fc.tuple(secret, secret).map(([called, key]) => `${called}=${key}`),
      fc.constantFrom('zq-a=§twice§', 'zq-b=§twice§', 'zq=', 'zq=='),
    );
    let refused = 0;
    fc.assert(
      fc.property(fc.array(listed, { minLength: 1, maxLength: 5 }), (words) => {
        try {
          inVariable(words.join(','));
        } catch (error) {
          refused += 1;
          const { code, message } = error as { code: string; message: string };
          expect(code).toBe('config_invalid');
          expect(message).not.toMatch(/§|twice|zq/);
          for (const line of message.split('\n'))
            expect(line).toMatch(/^KEYS, key [1-5] of [1-5]: expected /);
        }
      }),
      { examples: [[['zq-a=§twice§', 'zq-b=§twice§']]] },
    );
    expect(refused).toBeGreaterThan(0);
  });

  test.each([
    ['a name without a key, such as of an empty variable', 'sk-a,clinic-web=', 'key 2 of 2'],
    ['a name with padding for a key', 'clinic-web==', 'key 1 of 1'],
    ['a key of nothing but padding', '=', 'key 1 of 1'],
    ['a name with a capital', 'Clinic=sk-abc', 'key 1 of 1'],
    ['a tenant without a name', 'clinic/=sk-abc', 'key 1 of 1'],
    ['more than a tenant and a name', 'a/b/c=sk-abc', 'key 1 of 1'],
    ['a name that is too long', `${'a'.repeat(65)}=sk-abc`, 'key 1 of 1'],
    [
      'a key under two names',
      'a=sk-abc b=sk-abc',
      'key 2 of 2: expected another key, got that of KEYS, key 1 of 2',
    ],
    ['a key with a name and without', 'sk-abc a=sk-abc', 'key 2 of 2: expected another key'],
    // Their digests begin with the same 32 bits: without an error they would be one caller.
    ['keys that would get the same name', 'key-8337 key-15029', 'key 2 of 2: expected a name'],
  ])('refused: %s', (_what, text, message) => {
    expect(() => inVariable(text)).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringContaining(message) as string,
      }),
    );
  });

  test('keys of one name are one caller’s, and a key that stands there twice is one key', () => {
    expect(plainly(inVariable('a=one, a=two\n a=one plain plain'))).toEqual([
      { name: 'a', tenant: 'a', digest: sha256('one') },
      { name: 'a', tenant: 'a', digest: sha256('two') },
      { name: sha256('plain').slice(0, 8), tenant: sha256('plain').slice(0, 8), digest: sha256('plain') },
    ]);
  });
});

describe('a file of keys', () => {
  test('has a name and a digest a line, comments, and line ends of either kind', () => {
    const digest = sha256('sk-abc');
    const lines = [
      '# ours',
      '',
      `clinic/web  sha256:${digest}`,
      `\tclinic/web sha256:${sha256('sk-new').toUpperCase()}`,
    ];
    expect(plainly(inFile(lines.join('\r\n')))).toEqual([
      { name: 'clinic/web', tenant: 'clinic', digest },
      { name: 'clinic/web', tenant: 'clinic', digest: sha256('sk-new') },
    ]);
  });

  test('any name and key in it are what they are in the variable', () => {
    fc.assert(
      fc.property(
        name,
        word.filter((key) => !key.startsWith('=')),
        (called, key) => {
          expect(inFile(`${called} sha256:${sha256(key)}`)).toEqual(inVariable(`${called}=${key}`));
        },
      ),
    );
  });

  test('a line of the variable’s form is read as the variable is', () => {
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join(',')),
        (line) => {
          fc.pre(!/sha256:|^#/i.test(line));
          const read = (keys: () => ApiKey[]): unknown => {
            try {
              return plainly(keys());
            } catch (error) {
              return (error as Error).message.replaceAll(/^.*?: /gm, '').replace(/got that of .*? under/, '');
            }
          };
          expect(read(() => inFile(line))).toEqual(read(() => inVariable(line)));
        },
      ),
    );
  });

  test('an error says the line, and nothing of it', () => {
    const good = `a sha256:${sha256('one')}`;
    for (const line of [
      'a §key§',
      `§key§ sha256:${sha256('x')}`,
      `a sha256:§key§`,
      `${good} §key§`,
      `sha256:${sha256('§key§')}`,
      `a=sha256:§key§`,
      'a,§key§ §key§',
    ]) {
      let message = '';
      try {
        inFile(`\n${good}\n${line}`);
      } catch (error) {
        ({ message } = error as Error);
      }
      expect(message, line).toMatch(
        line.startsWith(good)
          ? /^keys\.txt, line 3: expected only requests, .* behind the digest/
          : /^keys\.txt, line 3: expected KEY, NAME=KEY or "NAME sha256:DIGEST"/,
      );
      expect(message).not.toContain('§');
    }
  });

  test('and a variable are one set of keys', () => {
    const file = { name: 'keys.txt', text: `b sha256:${sha256('one')}` };
    expect(() => readApiKeys({ variable: 'KEYS', text: 'a=one', file })).toThrow(
      'keys.txt, line 1: expected another key, got that of KEYS, key 1 of 1 under another name',
    );
    expect(readApiKeys({ variable: 'KEYS', text: 'b=one,b=two', file })).toHaveLength(2);
  });
});
