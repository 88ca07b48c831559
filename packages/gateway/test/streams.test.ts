import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, onTestFinished, test } from 'vitest';
import { configSchema } from '../src/config/schema.ts';
import type { GatewayError } from '@spillway/server/errors';
import { Defects } from '@spillway/server/defects';
import { Meter } from '@spillway/server/stream/meter';
import { Streams } from '@spillway/server/stream/streams';
import { nobody } from '../../server/test/support/nobody.ts';

test('deadlines hold for all streams, however many there are', async () => {
  const config = configSchema.parse({});
  const links = { readQueues: () => Promise.resolve(undefined) };
  const clock = new VirtualClock();
  const defects = new Defects({ error: () => undefined });
  const streams = new Streams({ config, meter: new Meter(), links, defects, clock });
  onTestFinished(() => streams.stopWatching());
  const opened = Array.from({ length: 3000 }, () => streams.open(nobody));
  await clock.advance(config.waitTimeoutMs - 1000);
  expect(opened.some(({ signal }) => signal.aborted)).toBe(false);
  await clock.advance(2000);
  expect(opened.every(({ signal }) => signal.aborted)).toBe(true);
  const codes = new Set(opened.map(({ signal }) => (signal.reason as GatewayError).code));
  expect([...codes]).toEqual(['overloaded']);
});
