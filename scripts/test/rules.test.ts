import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('each rule of the protocol stands once, in the order of its number', () => {
  const text = readFileSync(join(import.meta.dirname, '../../PROTOCOL.md'), 'utf8');
  const rules = [...text.matchAll(/^- \*\*(\d+)\.(\d+)\*\*/gm)].map(([, part, rule]) => ({
    part: Number(part),
    rule: Number(rule),
  }));
  expect(rules.length).toBeGreaterThan(50);
  let last = { part: 0, rule: 0 };
  for (const next of rules) {
    const isNext =
      next.part === last.part ? next.rule === last.rule + 1 : next.part > last.part && next.rule === 1;
    expect(isNext, `${next.part}.${next.rule} behind ${last.part}.${last.rule}`).toBe(true);
    last = next;
  }
});
