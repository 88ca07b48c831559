import { expect, test } from 'vitest';
import type { Quota } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import { gemini } from '@spillway/core/format/gemini';
import { quotaError, type RefusedQuota } from '../src/limit/limit-message.ts';
import { rateText } from '../src/limit/rate-words.ts';
import { readRate } from '../src/config/limit-values.ts';

const noonMs = Date.parse('2026-11-28T12:00:00Z');
const context = { currency: 'EUR', dateMs: noonMs };
const day = { kind: 'budget', key: 'day', limit: 1000, window: 'day' } as const;

function refused(name: string, quota: Quota, more: Partial<RefusedQuota> = {}): RefusedQuota {
  const state = { used: 1, reserved: 0, resetMs: undefined };
  const scope = { kind: 'tenant', whose: 'clinic' } as const;
  return { scope, name, quota, unit: 'tokens', state, retryAfterMs: undefined, ...more };
}

test.each([
  ['4/min', 'may send 4 requests a minute, and has sent them (userRequests)'],
  ['1/s', 'may send 1 request a second, and has sent them'],
  ['10/s burst 3', 'may send 10 requests a second, 3 at once, and has sent them'],
  ['600/min', 'may send 600 requests a minute, and'],
  ['7/h', 'may send 7 requests an hour, and'],
  ['7/h burst 2', 'may send 7 requests an hour, 2 at once, and'],
  ['100000/h', 'may send 100000 requests an hour, and'],
])('a rate of %s is said as it was written', (written, words) => {
  const rate = readRate(written);
  if (rate === undefined) throw new Error('it is a rate');
  const error = quotaError(refused('userRequests', { kind: 'rate', key: 'r', ...rate }), context);
  expect(error.message).toContain(words);
  expect(rateText(rate)).toBe(written);
});

test.each([0, 3, 400, 999, 20_000])(
  'a day begins with itself, although its rest was measured %d ms ago',
  (agoMs) => {
    const resetMs = 12 * 3_600_000;
    const state = { used: 1000, reserved: 0, resetMs };
    const error = quotaError(refused('tokensPerDay', day, { state, retryAfterMs: resetMs }), {
      ...context,
      dateMs: noonMs + agoMs,
    });
    expect(error.message).toMatch(/ It begins again at 2026-11-29T00:00:00Z\.$/);
    if (agoMs > 500) return;
    const { headers } = error.answer(anthropicMessages);
    expect(headers['anthropic-ratelimit-tokens-reset']).toBe('2026-11-29T00:00:00Z');
  },
);

test('streams at once: another try makes sense in a second', () => {
  const error = quotaError(refused('streams', { kind: 'places', key: 'p', limit: 1 }), context);
  const { headers } = error.answer(openaiChat);
  expect(headers['retry-after']).toBe('1');
  expect(headers['x-should-retry']).toBeUndefined();
});

test('each API has its own kind of error', () => {
  const state = { used: 1000, reserved: 0, resetMs: 1000 };
  const of = (unit: 'cost' | 'tokens'): unknown[] => {
    const error = quotaError(refused('costPerDay', day, { unit, state }), context);
    return [openaiChat, anthropicMessages, gemini].map((format) => {
      const body = JSON.parse(error.answer(format).body.toString()) as { error: object };
      return body.error;
    });
  };
  expect(of('tokens')).toMatchObject([
    { type: 'rate_limit_exceeded', code: 'limit_reached' },
    { type: 'rate_limit_error', code: 'limit_reached' },
    { code: 429, status: 'RESOURCE_EXHAUSTED' },
  ]);
  expect(of('cost')).toMatchObject([
    { type: 'insufficient_quota', code: 'limit_reached' },
    { type: 'billing_error', code: 'limit_reached' },
    { code: 402, status: 'RESOURCE_EXHAUSTED' },
  ]);
});
