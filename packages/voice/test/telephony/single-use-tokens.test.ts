import { describe, expect, test } from 'vitest';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { SingleUseTokens } from '../../src/index.ts';

describe('a single-use token', () => {
  test('is taken once, and by nobody who guesses', () => {
    const tokens = new SingleUseTokens<string>();
    const token = tokens.make('call-1') ?? '';
    expect(token).toMatch(/^[\w-]{22}$/u);
    expect(tokens.make('call-2')).not.toBe(token);
    expect(tokens.take(`${token.slice(0, -1)}_`)).toBeUndefined();
    expect(tokens.take('')).toBeUndefined();
    expect(tokens.take(token)).toBe('call-1');
    expect(tokens.take(token)).toBeUndefined();
  });

  test('is good for thirty seconds', async () => {
    const clock = new VirtualClock();
    const tokens = new SingleUseTokens<string>({ clock });
    const early = tokens.make('early') ?? '';
    await clock.advance(1);
    const late = tokens.make('late') ?? '';
    await clock.advance(30_000);
    expect(tokens.size).toBe(1);
    expect(tokens.take(early)).toBeUndefined();
    expect(tokens.take(late)).toBe('late');
  });

  test('is refused when too many are out: no earlier one is lost, and none is kept', async () => {
    const clock = new VirtualClock();
    const tokens = new SingleUseTokens<number>({ clock, maxTokens: 3 });
    const made = [1, 2, 3, 4].map((value) => tokens.make(value));
    expect(made[3]).toBeUndefined();
    expect(tokens.take(made[0] ?? '')).toBe(1);
    expect(tokens.make(5)).toBeDefined();
    expect(tokens.make(6)).toBeUndefined();
    await clock.advance(30_001);
    expect(tokens.size).toBe(0);
    expect(tokens.make(7)).toBeDefined();
  });

  test('has bounds that are checked', () => {
    expect(() => new SingleUseTokens({ maxAgeMs: 999 })).toThrow('maxAgeMs: expected 1,000 to 600,000');
    expect(() => new SingleUseTokens({ maxTokens: 0 })).toThrow('maxTokens: expected a whole number');
  });
});
