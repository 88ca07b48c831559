import { expect, test } from 'vitest';
import type { Provider } from '../src/config/provider.ts';
import type { ProviderGate } from '../src/provider/gate/provider-gate.ts';
import type { RequestTarget } from '../src/relay/relay-request.ts';
import { targetsInOrder } from '../src/provider/gate/targets-in-order.ts';

const provider: Provider = { name: 'p', api: 'openai', url: 'http://p', apiKey: 'k', detach: undefined };

function target(model: string, weight: number): RequestTarget {
  return { provider, model, weight, path: '/', edits: [] };
}

function order(
  targets: readonly RequestTarget[],
  closedMs: Readonly<Record<string, number>> = {},
  random: () => number = Math.random,
): string[] {
  const gates = { find: (_: Provider, model = '') => ({ closedMs: closedMs[model] ?? 0 }) as ProviderGate };
  return targetsInOrder(targets, gates, { random }).order.map(({ model }) => model);
}

test('weights are the shares of who is asked first', () => {
  const targets = [target('a', 6), target('b', 3), target('c', 1), target('spare', 0)];
  const firsts: Record<string, number> = {};
  let seed = 7;
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  for (let at = 0; at < 20_000; at += 1) {
    const [first = ''] = order(targets, {}, random);
    firsts[first] = (firsts[first] ?? 0) + 1;
  }
  const share = (model: string): number => (firsts[model] ?? 0) / 20_000;
  expect(share('a')).toBeCloseTo(0.6, 1);
  expect(share('b')).toBeCloseTo(0.3, 1);
  expect(share('c')).toBeCloseTo(0.1, 1);
  expect(firsts['spare']).toBeUndefined();
});

test('those without a weight come last, as they were written', () => {
  const named = order([target('x', 0), target('a', 1), target('y', 0), target('b', 1)]);
  expect(named.slice(0, 2).toSorted()).toEqual(['a', 'b']);
  expect(named.slice(2)).toEqual(['x', 'y']);
});

test('what cannot be asked now is left out; of nothing else, what can be asked first is left', () => {
  const targets = [target('a', 1), target('b', 0), target('c', 0)];
  expect(order(targets, { a: 500 })).toEqual(['b', 'c']);
  expect(order(targets, { a: 500, b: 200, c: 900 })).toEqual(['b']);
  expect(order([target('a', 1)], { a: 500 })).toEqual(['a']);
});

test('those left out are told that would have come before the first one', () => {
  const leftOut = (closedMs: Readonly<Record<string, number>>): string[] => {
    const gates = { find: (_: Provider, model = '') => ({ closedMs: closedMs[model] ?? 0 }) as ProviderGate };
    const targets = [target('a', 1), target('b', 0), target('c', 0)];
    return targetsInOrder(targets, gates, { random: Math.random }).leftOut.map(({ model }) => model);
  };
  expect(leftOut({})).toEqual([]);
  expect(leftOut({ a: 500 })).toEqual(['a']);
  expect(leftOut({ b: 500 })).toEqual([]);
  expect(leftOut({ a: 500, b: 500 })).toEqual(['a', 'b']);
  expect(leftOut({ a: 500, b: 200, c: 900 })).toEqual([]);
});
