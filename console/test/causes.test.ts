import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ReaderRow } from '../../packages/server/src/console/snapshot.ts';
import { causes, untakenBy, whyOf, whySentence } from '../src/causes.ts';
import { stallCauses } from '../../packages/server/src/stream/meter.ts';

test('each cause for which a model waits has a text and a colour, light and dark', () => {
  expect([...causes].toSorted()).toEqual([...stallCauses].toSorted());
  const style = readFileSync(join(import.meta.dirname, '../src/style.css'), 'utf8');
  for (const cause of causes) expect(style.split(`--cause-${cause}: #`), cause).toHaveLength(3);
});

test('what a WebSocket has not taken is said, and that it is much as the alert counts', () => {
  const of = (untakenBytes: number | null): unknown => untakenBy({ untakenBytes } as ReaderRow);
  expect(of(null)).toBeUndefined();
  expect(of(0)).toBeUndefined();
  expect(of(262_144)).toEqual({ text: '256 KiB that its WebSocket has not taken', isMuch: false });
  expect(of(300 * 1024)).toEqual({
    text: '300 KiB that its WebSocket has not taken, more than 256 KiB',
    isMuch: true,
  });
});

test('a reader that waits for a gate is not held up before it has waited for a second', () => {
  const reader = { isLost: false, isPaused: false, waitsFor: 'tap', creditBytes: null } as ReaderRow;
  const quick = { ...reader, lagMs: 999 };
  expect([whyOf(quick), whySentence(quick)]).toEqual([undefined, undefined]);
  const late = { ...reader, lagMs: 1000 };
  expect(whyOf(late)).toBe('a tap that lags');
  expect(whySentence(late)).toContain('A tap that lags: ');
  // Only of taps.
  expect(whyOf({ ...quick, waitsFor: 'link' })).toBe('slow link');
});
