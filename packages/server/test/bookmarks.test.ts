import { openChannel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import { expect, test } from 'vitest';
import { Audience } from '../src/stream/audience.ts';

test.each<[string, (audience: Audience) => void]>([
  ['its reader is back', ({ bookmarks }) => bookmarks.cameBack('mine')],
  ['nobody can come back', (audience) => audience.forgetBookmarks()],
])('a small bound on what comes at once goes with a place: %s', (_when, happens) => {
  const channel = openChannel<EventRun>({ maxBytes: 65_536, weigh: ({ byteLength }) => byteLength });
  const audience = new Audience({ log: undefined, windowBytes: 65_536 });
  let places = 1;
  const place = { bytes: 0, grow: () => true, shrink: () => undefined, release: () => void (places -= 1) };
  const openAt = () => channel.reader({ from: 'start' });
  const kept = { offset: 0, overflow: 'coalesce', openAt, maxRunBytes: 1024, place } as const;
  audience.bookmarks.add({ ...kept, name: 'mine' }, 0);
  audience.boundRuns();
  expect(audience.maxRunBytes).toBe(1024 - frameOverheadBytes);
  // Another who reads there.
  audience.bookmarks.cameBack('another');
  expect([audience.maxRunBytes, places]).toEqual([1024 - frameOverheadBytes, 1]);
  happens(audience);
  expect([audience.maxRunBytes, places]).toEqual([65_536 - frameOverheadBytes, 0]);
});
