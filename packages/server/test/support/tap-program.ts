// A program with streams, a tap that gates and an audit log. Prints what its readers get, until it is killed.
import { openAuditLog } from '../../src/audit/audit-log.ts';
import { Gap } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { Defects } from '../../src/defects.ts';
import { RunMemory } from '../../src/memory/run-memory.ts';
import { Meter } from '../../src/stream/meter.ts';
import { openRunChannel } from '../../src/stream/run-channel.ts';
import { Streams } from '../../src/stream/streams.ts';
import { RecordTap } from '../../src/tap/record-tap.ts';
import { nodeClock } from '../../src/time/node-clock.ts';
import { nobody } from './nobody.ts';
import { config } from './stream-config.ts';

const [path = ''] = process.argv.slice(2);
const silent = { info: () => undefined, error: () => undefined };
const sink = await openAuditLog(path);
const tap = new RecordTap({ name: 'audit', sink, gate: true, clock: nodeClock, log: silent });
const streams = new Streams({
  config,
  meter: new Meter(),
  links: { readQueues: () => Promise.resolve(undefined) },
  defects: new Defects(silent),
  clock: nodeClock,
  taps: [tap],
});

async function read(model: string): Promise<void> {
  const stream = streams.open({ ...nobody, model, detach: 'finish' });
  const channel = openRunChannel(65_536, new RunMemory(), openaiChat, nodeClock);
  const body = {
    format: openaiChat,
    isEvents: true,
    status: 200,
    reason: '',
    headers: {},
    maxWaitingBytes: 65_536,
  };
  stream.start({ ...body, log: channel }, nodeClock.nowMs());
  void (async () => {
    for (let word = 0; ; word += 1) {
      const bytes = Buffer.from(`data: {"choices":[{"index":0,"delta":{"content":"${word} "}}]}\n\n`);
      await channel.write({ bytes, byteLength: bytes.length, events: 1 });
      if (word % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  await stream.started;
  const reader = stream.body?.log.reader({ overflow: 'coalesce' });
  while ((await reader?.ready()) === true) {
    for (const run of reader?.takeAll() ?? []) {
      if (run instanceof Gap) continue;
      const words = [
        ...Buffer.from(run.bytes)
          .toString()
          .matchAll(/"content":"([^"]*)"/g),
      ];
      // At once, so that nothing of it is left in this process when that is killed.
      process.stdout.write(
        `${model} ${words
          .map(([, text = '']) => text)
          .join('')
          .trim()
          .replaceAll(' ', ',')}\n`,
      );
    }
  }
}

process.stdout.write('ready\n');
await Promise.all(['a', 'b', 'c'].map((model) => read(model)));
