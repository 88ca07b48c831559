import { expect, test } from 'vitest';
import { readRefusal } from '../src/http/read-refusal.ts';

const error = (fields: object): string => JSON.stringify({ error: fields });

test.each([
  [
    'OpenAI',
    401,
    error({ message: 'Incorrect API key.', type: 'invalid_request_error', code: 'invalid_api_key' }),
    'invalid_api_key',
    'invalid_request_error',
  ],
  [
    'Anthropic',
    529,
    JSON.stringify({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }),
    '',
    'overloaded_error',
  ],
  [
    'Gemini',
    429,
    `[${error({ code: 429, message: 'Quota exceeded.', status: 'RESOURCE_EXHAUSTED' })}]`,
    '429',
    '',
  ],
  ['a flat error', 404, '{"error":"model not found"}', '', ''],
  [
    'an error at the top',
    503,
    '{"object":"error","message":"Loading","type":"NotReady","code":503}',
    '503',
    'NotReady',
  ],
] as const)('%s: names, and words about the account', (_who, status, body, code, type) => {
  const refusal = readRefusal(status, body);
  expect(refusal).toMatchObject({ status, code, type });
  expect(refusal.message).not.toBe('');
});

test('words that may quote the request are not kept, whatever the provider puts them into', () => {
  const prompt = 'my secret prompt about a person';
  for (const status of [400, 409, 413, 415, 422, 500, 502, 504]) {
    for (const body of [
      error({ message: prompt, type: prompt, code: prompt, param: prompt }),
      JSON.stringify({ error: prompt }),
      JSON.stringify({ detail: [{ msg: prompt, input: prompt }] }),
      JSON.stringify({ message: prompt, status: prompt }),
      prompt,
    ]) {
      expect(JSON.stringify(readRefusal(status, body)), `${status} ${body}`).not.toContain('secret');
    }
  }
});

test.each([
  '',
  'null',
  '[]',
  '[null]',
  '{}',
  '{"error":null}',
  '{"error":[]}',
  '{"error":7}',
  'no JSON',
  '<html>',
  '{"error":{"message":{}}}',
  `{"error":"${'x'.repeat(9000)}"}`,
])('any body is survived: %s', (body) => {
  expect(readRefusal(429, body)).toEqual({ status: 429, code: '', type: '', message: '' });
});

test('keys and long words are cut, and so is the message', () => {
  const { message } = readRefusal(
    401,
    error({ message: `Wrong key sk-proj-${'a1'.repeat(40)} ${'word '.repeat(100)}` }),
  );
  expect(message).toMatch(/^Wrong key sk-pro… word/);
  expect(message).toHaveLength(200);
});
