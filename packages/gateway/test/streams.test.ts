import { expect, onTestFinished, test } from 'vitest';
import { configSchema } from '../src/config/schema.ts';
import type { GatewayError } from '@spillway/server/errors';
import { Defects } from '@spillway/server/defects';
import { Meter } from '@spillway/server/stream/meter';
import { Streams } from '@spillway/server/stream/streams';
import { eventually } from './support/spawn.ts';
import { nobody } from '../../server/test/support/nobody.ts';

test('deadlines hold for all streams, however many there are', async () => {
  const config = configSchema.parse({ waitTimeoutMs: 100, detachGraceMs: 200 });
  const links = { readQueues: () => Promise.resolve(undefined) };
  const observer = { streamBegan: () => undefined, readerEnded: () => undefined };
  const streams = new Streams(config, new Meter(), links, observer, new Defects({ error: () => undefined }));
  onTestFinished(() => streams.stopWatching());
  const opened = Array.from({ length: 3000 }, () => streams.open(nobody));
  await eventually(() => opened.every(({ signal }) => signal.aborted), 'all to be refused');
  const codes = new Set(opened.map(({ signal }) => (signal.reason as GatewayError).code));
  expect([...codes]).toEqual(['overloaded']);
});
