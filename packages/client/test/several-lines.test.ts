import { describe, expect, test } from 'vitest';
import { ask, formatAnswers, upstreamsAt } from '../../gateway/test/support/answers.ts';
import { type RunningGateway, startGateway } from '../../gateway/test/support/processes.ts';
import { startRawProvider, wholeAnswer } from '../../gateway/test/support/raw-provider.ts';
import { metric } from '../../gateway/test/support/requests.ts';
import { openFetch } from './support/clients.ts';

// A provider, or a proxy in front of one, that pretty prints its JSON: each event has many lines of data.

const closing = { 'content-type': 'text/event-stream', connection: 'close' };

function inLines(events: string): string {
  return events.replaceAll(/^data: (\{.*\})$/gm, (_line, payload: string) =>
    JSON.stringify(JSON.parse(payload), null, 2).replaceAll(/^/gm, 'data: '),
  );
}

/** A provider of which `write` says what it answers next, and a gateway in front of it. */
async function start(): Promise<{ gateway: RunningGateway; write: (bytes: Buffer | string) => void }> {
  let next: Buffer | string = '';
  const provider = await startRawProvider((_asked, socket) => void socket.end(next));
  const gateway = await startGateway(['--upstream', upstreamsAt(provider.url)]);
  return { gateway, write: (bytes) => (next = bytes) };
}

function ended({ adminUrl }: RunningGateway, state: 'completed' | 'failed'): Promise<number> {
  return metric(adminUrl, `spillway_streams_ended_total{state="${state}"}`);
}

describe.each(['fetch', 'createFetch'] as const)('promise 7: events of several lines, read by %s', (way) => {
  test.each(formatAnswers)('end and fail as those of one line: $format', async (answer) => {
    const { gateway, write } = await start();
    const send = way === 'fetch' ? fetch : openFetch({ url: gateway.url });
    const text = inLines(answer.events.text);
    const reason = inLines(answer.events.reason);
    const marker = inLines(answer.events.marker);
    const error = inLines('data: {"error":{"message":"The model is broken.","code":500},"type":"error"}\n\n');
    const head = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n';
    const read = async (bytes: Buffer | string): Promise<string> => {
      write(bytes);
      return await (await ask(gateway.url, answer, {}, send)).text();
    };
    const last = reason === '' ? marker : reason;
    expect(await read(wholeAnswer(text + last, closing))).toBe(text + last);
    expect(await ended(gateway, 'completed')).toBe(1);
    // Without a word of HTTP that it is whole, only the marker says so.
    if (marker !== '') {
      expect(await read(head + text + reason + marker)).toBe(text + reason + marker);
      expect(await ended(gateway, 'completed')).toBe(2);
    }
    // As it came, and nothing of the gateway's own behind it.
    expect(await read(wholeAnswer(text + error, closing))).toBe(text + error);
    expect(await read(head + text + error)).toBe(text + error);
    expect(await ended(gateway, 'failed')).toBe(2);
    expect(await read(wholeAnswer(text, closing))).toContain('closed the stream before its end');
  });
});
