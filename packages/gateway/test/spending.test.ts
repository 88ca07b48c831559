import { describe, expect, test } from 'vitest';
import type { BudgetClaim } from '@spillway/core';
import { openScope } from '../src/limit/scope.ts';
import { Spending } from '../src/limit/spending.ts';

describe('what one request spends', () => {
  test('each slice that is granted has a token more, whatever a token costs', () => {
    const limit = 10_000;
    const scope = openScope('tenant', 'clinic', 'clinic:', { costPerDay: limit });
    if (scope === undefined) throw new Error('expected a scope');
    for (const output of [300_000, 2_500_000, 7_000_000, 10_000_000]) {
      for (let input = 1; input < 40; input += 1) {
        const price = { model: '*', sinceMs: 0, input: 1_000_000, output };
        const spending = new Spending([scope], price, input);
        let tokens = 0;
        /** Asks as a lease does; the store gives what is left. Returns `false` when that is too little. */
        const isGranted = (claims: readonly BudgetClaim[]): boolean => {
          const [{ atLeast, spent, want } = { atLeast: 0, spent: 0, want: 0 }] = claims;
          if (limit - spent < atLeast) return false;
          spending.granted(claims, [Math.min(limit - spent, want)], tokens);
          return true;
        };
        expect(isGranted(spending.firstClaims(256))).toBe(true);
        let isOver = false;
        while (!isOver) {
          tokens += 1;
          if (tokens < spending.askAt) continue;
          isOver = !isGranted(spending.nextClaims(tokens));
          if (!isOver) expect(spending.stopAt, `at ${output} a million`).toBeGreaterThan(tokens);
        }
      }
    }
  });

  test('every claim is one that a store takes, also where the prompt, the answer or both cost nothing', () => {
    const scope = openScope('tenant', 'clinic', 'clinic:', { tokensPerDay: 100_000, costPerDay: 5000 });
    if (scope === undefined) throw new Error('expected a scope');
    const numbers = [0, 1, 300_000, 1_000_000];
    for (const input of numbers) {
      for (const output of numbers) {
        for (const reported of [0, 4, 1000, 8000]) {
          const spending = new Spending([scope], { model: '*', sinceMs: 0, input, output }, 4);
          let claims = spending.firstClaims(256);
          for (let tokens = 0; tokens < 3000; tokens += 500) {
            for (const { atLeast, spent, want } of claims) {
              expect(atLeast, `of ${input} and ${output}, ${reported} reported`).toBeGreaterThanOrEqual(0);
              expect(want).toBeGreaterThanOrEqual(atLeast);
              expect([atLeast, spent, want].every(Number.isSafeInteger)).toBe(true);
            }
            spending.granted(
              claims,
              claims.map(({ atLeast }) => atLeast),
              tokens,
            );
            spending.countInput(reported, tokens);
            claims = spending.nextClaims(tokens + 500);
          }
        }
      }
    }
  });
});
