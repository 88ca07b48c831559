/**
 * A program that serves streams of a provider and writes each of them to a sink that takes 50 ms for a write, one at a
 * time: with a tap, or as it is written first. `GET /figures` says what waits for the sink.
 *
 *     node --conditions=spillway-source bench/load/slow-sink.ts 'tap' http://127.0.0.1:4000
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Gap, type RecordSink } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { EventScanner } from '@spillway/core/format/sse';
import { Defects } from '@spillway/server/defects';
import { RunMemory } from '@spillway/server/memory/run-memory';
import { answerGet } from '@spillway/server/read/read-answers';
import { openLinks } from '@spillway/server/sink/open-links';
import { Paces } from '@spillway/server/sink/paces';
import { Meter } from '@spillway/server/stream/meter';
import { openRunChannel } from '@spillway/server/stream/run-channel';
import type { GatewayStream } from '@spillway/server/stream/stream';
import { Streams } from '@spillway/server/stream/streams';
import type { Tap } from '@spillway/server/stream/tap';
import { RecordTap } from '@spillway/server/tap/record-tap';
import { nodeClock } from '@spillway/server/time/node-clock';
import { nobody } from '../../packages/server/test/support/nobody.ts';
import { config, windowBytes } from '../../packages/server/test/support/stream-config.ts';
import type { SinkWay, SlowSinkFigures } from '../slow-sink.ts';

const writeMs = 50;

/** Everything that comes, one write a token. */
class NaiveQueue implements Tap {
  readonly name = 'naive';
  readonly #queue: { readonly text: string; readonly sinceMs: number }[] = [];
  #bytes = 0;
  #written = 0;

  open(): ReturnType<Tap['open']> {
    return {
      read: async (reader) => {
        for await (const item of reader) {
          if (item instanceof Gap) continue;
          const text = Buffer.from(item.bytes).toString();
          this.#queue.push({ text, sinceMs: performance.now() });
          this.#bytes += text.length;
        }
      },
    };
  }

  async run(): Promise<void> {
    for (;;) {
      await sleep(writeMs);
      const first = this.#queue.shift();
      if (first === undefined) continue;
      this.#bytes -= first.text.length;
      this.#written += 1;
    }
  }

  get figures(): SlowSinkFigures {
    const since = this.#queue[0]?.sinceMs;
    return {
      lagMs: since === undefined ? 0 : performance.now() - since,
      lagRecords: this.#queue.length,
      lagBytes: this.#bytes,
      records: this.#written,
      writes: this.#written,
    };
  }
}

const sink: RecordSink = {
  durability: 'memory',
  write: () => sleep(writeMs),
  close: () => Promise.resolve(),
};

const [way = '', upstream = ''] = process.argv.slice(2);
const naive = new NaiveQueue();
const log = { info: () => undefined, error: () => undefined };
const tap = new RecordTap({
  name: 'slow',
  sink,
  gate: way === ('gate' satisfies SinkWay),
  clock: nodeClock,
  log,
});
const taps: Readonly<Record<SinkWay, readonly Tap[]>> = {
  nobody: [],
  naive: [naive],
  tap: [tap],
  gate: [tap],
};
if (!(way in taps)) throw new Error(`expected ${Object.keys(taps).join(', ')}, got ${way}`);
if (way === 'naive') void naive.run();

const links = openLinks();
const paces = new Paces(links);
const streams = new Streams({
  config: { ...config, maxStreams: 10_000 },
  meter: new Meter(),
  links,
  defects: new Defects({ error: (fields) => console.error(fields) }),
  clock: nodeClock,
  taps: taps[way as SinkWay],
});

const server = createServer((raw, response) => {
  if (raw.url === '/figures') response.end(JSON.stringify(figures()));
  else void serve(raw, response);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

function figures(): SlowSinkFigures {
  if (way === 'naive') return naive.figures;
  const { lag, records, writes } = tap.figures;
  return { lagMs: lag.ms, lagRecords: lag.records, lagBytes: lag.bytes, records, writes };
}

/** Opens a stream for a request, and answers with it. */
async function serve(raw: IncomingMessage, response: ServerResponse): Promise<void> {
  const body: Buffer[] = [];
  for await (const part of raw) body.push(part as Buffer);
  const stream = streams.open(nobody);
  stream.asked();
  fill(stream, Buffer.concat(body));
  raw.headers.accept = 'text/event-stream';
  const find = (): GatewayStream => stream;
  const read = { raw, response, query: {}, find, take: () => undefined };
  await answerGet(read, { clock: nodeClock, paces, stallTimeoutMs: 30_000, windowBytes });
}

/** Reads the provider's answer into the stream. It never ends. */
function fill(stream: GatewayStream, body: Buffer): void {
  const channel = openRunChannel(windowBytes, new RunMemory(), openaiChat, nodeClock);
  const headers = { 'content-length': body.length };
  const asked = request(`${upstream}/v1/chat/completions`, { method: 'POST', headers }, (reply) => {
    const start = { format: openaiChat, isEvents: true, status: 200, reason: '', headers: {} };
    stream.start({ ...start, log: channel, maxWaitingBytes: windowBytes }, nodeClock.nowMs());
    const scanner = new EventScanner({ classify: openaiChat.classify });
    reply.on('data', (bytes: Buffer) => {
      scanner.push(bytes, (run) => {
        stream.received(run, true, nodeClock.nowMs());
        if (channel.offer(run) !== 'full') return;
        reply.pause();
        const resume = (): void => void reply.resume();
        channel.write(run).then(resume, resume);
      });
    });
    reply.on('error', () => undefined);
  });
  asked.on('error', () => undefined);
  stream.signal.addEventListener('abort', () => asked.destroy());
  asked.end(body);
}
