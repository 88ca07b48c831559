import type { Channel } from '@spillway/core';
import type { Format } from '@spillway/core/format/format';
import { openaiChat } from '@spillway/core/format/openai-chat';
import type { EventRun } from '@spillway/core/format/sse';
import { onTestFinished } from 'vitest';
import { Defects } from '../../src/defects.ts';
import { RunMemory } from '../../src/memory/run-memory.ts';
import { nodeClock } from '../../src/time/node-clock.ts';
import type { ServerClock } from '../../src/time/server-clock.ts';
import { Meter } from '../../src/stream/meter.ts';
import { openRunChannel } from '../../src/stream/run-channel.ts';
import type { StreamLog } from '../../src/stream/stream-log.ts';
import type { StreamOwner } from '../../src/stream/stream-owner.ts';
import type { GatewayStream } from '../../src/stream/stream.ts';
import { Streams, type StreamsConfig } from '../../src/stream/streams.ts';
import type { Tap } from '../../src/stream/tap.ts';
import { nobody } from './nobody.ts';
import { config, windowBytes } from './stream-config.ts';

/** The streams of a process that has no gateway, and what failed in them. */
export interface OwnStreams {
  readonly streams: Streams;
  readonly defects: string[];
}

export function openStreams(
  taps: readonly Tap[] = [],
  options: Partial<StreamsConfig> = {},
  clock: ServerClock = nodeClock,
): OwnStreams {
  const defects: string[] = [];
  const streams = new Streams({
    config: { ...config, ...options },
    meter: new Meter(),
    links: { readQueues: () => Promise.resolve(undefined) },
    defects: new Defects({ error: ({ where }) => void defects.push(String(where)) }),
    clock,
    taps,
  });
  onTestFinished(() => streams.stopWatching());
  return { streams, defects };
}

/** A stream that a program of somebody's own writes. */
export interface WrittenStream {
  readonly stream: GatewayStream;
  readonly channel: Channel<EventRun>;
  /** Returns whether there was room. */
  readonly say: (text: string) => boolean;
  readonly end: () => void;
}

/** One event with that text. */
export function runOf(text: string): EventRun {
  const bytes = Buffer.from(
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text } }] })}\n\n`,
  );
  return { bytes, byteLength: bytes.length, events: 1 };
}

/** Starts a stream; without a log of its own, on a channel. */
export function startStream(
  streams: Streams,
  owner: Partial<StreamOwner> = {},
  {
    clock = nodeClock,
    format = openaiChat,
    log,
  }: { readonly log?: StreamLog; readonly format?: Format; readonly clock?: ServerClock } = {},
): WrittenStream {
  const stream = streams.open({ ...nobody, ...owner });
  const channel = openRunChannel(windowBytes, new RunMemory(), format, clock);
  const body = { format, isEvents: true, status: 200, reason: '', headers: {}, maxWaitingBytes: windowBytes };
  stream.start({ ...body, log: log ?? channel }, clock.nowMs());
  return {
    stream,
    channel,
    say(text) {
      const run = runOf(text);
      if (channel.offer(run) !== 'accepted') return false;
      stream.received(run, true, clock.nowMs());
      return true;
    },
    end() {
      channel.complete();
      streams.ended(stream, { state: 'completed', error: undefined });
    },
  };
}

/** The text of events. */
export function textIn(events: string): string {
  return [...events.matchAll(/"content":("(?:[^"\\]|\\.)*")/g)]
    .map(([, text = '""']) => JSON.parse(text) as string)
    .join('');
}
