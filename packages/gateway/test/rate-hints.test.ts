import { describe, expect, test } from 'vitest';
import { pauseMs } from '../src/provider/gate/rate-hints.ts';
import { statedDelayMs } from '../src/provider/retry-hints.ts';

const dateMs = Date.UTC(2026, 0, 31, 12);

function asked(status: number, headers: Readonly<Record<string, string>>): number {
  const reply = { status, header: (name: string): string | undefined => headers[name] };
  return pauseMs(reply, statedDelayMs(reply, dateMs), dateMs);
}

describe('what a provider says of when to ask again', () => {
  test.each([
    ['nothing', 200, {}, 0],
    ['Retry-After beside 429', 429, { 'retry-after': '7' }, 7000],
    ['Retry-After beside 503', 503, { 'retry-after': '2' }, 2000],
    ['Retry-After beside an answer', 200, { 'retry-after': '7' }, 0],
    ['in milliseconds', 429, { 'retry-after-ms': '250' }, 250],
    ['a date', 529, { 'retry-after': 'Sat, 31 Jan 2026 12:00:09 GMT' }, 9000],
    ['longer than is believed', 429, { 'retry-after': '86400' }, 600_000],
    [
      "OpenAI's last request",
      200,
      { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '1.5s' },
      1500,
    ],
    [
      'a request of a limit of many',
      200,
      {
        'x-ratelimit-limit-requests': '600',
        'x-ratelimit-remaining-requests': '0',
        'x-ratelimit-reset-requests': '1m0s',
      },
      100,
    ],
    [
      'minutes and seconds',
      200,
      { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '6m0s' },
      18_000,
    ],
    [
      'milliseconds',
      200,
      { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '20ms' },
      20,
    ],
    ['some left', 200, { 'x-ratelimit-remaining-requests': '1', 'x-ratelimit-reset-requests': '1h' }, 0],
    [
      "Anthropic's date",
      200,
      {
        'anthropic-ratelimit-output-tokens-remaining': '0',
        'anthropic-ratelimit-output-tokens-reset': '2026-01-31T12:00:03Z',
      },
      150,
    ],
    [
      'a date that is over',
      200,
      {
        'anthropic-ratelimit-requests-remaining': '0',
        'anthropic-ratelimit-requests-reset': '2026-01-31T11:00:00Z',
      },
      0,
    ],
    ['no time at all', 200, { 'x-ratelimit-remaining-requests': '0' }, 0],
    [
      'something else',
      200,
      { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': 'soon' },
      0,
    ],
  ])('%s', (_name, status, headers, ms) => {
    expect(asked(status, headers)).toBe(ms);
  });
});
