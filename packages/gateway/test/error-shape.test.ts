import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Client, openClient } from '../../client/src/index.ts';
import { ask, type FormatAnswer, formatAnswers, upstreamsAt } from './support/answers.ts';
import { type RunningGateway, startGateway } from './support/processes.ts';
import { chunk, startRawProvider } from './support/raw-provider.ts';
import { payloads } from './support/requests.ts';
import { readEvents, withoutIds } from './support/stream-url.ts';

// Every error has the shape of the request's own format, also for who reads the answer again by the stream's URL.

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

async function start(answer: (socket: Socket) => void): Promise<{ gateway: RunningGateway; client: Client }> {
  const { url } = await startRawProvider((_asked, socket) => answer(socket));
  const gateway = await startGateway(['--upstream', upstreamsAt(url), '--keep-alive-ms', '500']);
  const client = openClient({ url: gateway.url });
  onTestFinished(() => client.close());
  return { gateway, client };
}

/** The bytes of a stream that somebody has opened. */
async function readAgain(client: Client, url: string): Promise<string> {
  const reader = client.read(url, { autoAck: true });
  let text = '';
  for await (const item of reader) if (item.type === 'chunk') text += Buffer.from(item.bytes).toString();
  return text;
}

function lastOf(text: string): string {
  return (
    withoutIds(text)
      .replaceAll(': ping\n\n', '')
      .split(/(?<=\n\n)/)
      .at(-1) ?? ''
  );
}

describe.each(formatAnswers)('an error of $format has its shape', (format: FormatAnswer) => {
  test.each([
    ['behind events', true],
    ['before the answer', false],
  ])('for all who read it, %s', async (_when, hasBegun) => {
    const asking: Socket[] = [];
    const { gateway, client } = await start((socket) => {
      asking.push(socket);
      if (hasBegun) socket.write(Buffer.concat([Buffer.from(head), chunk(format.events.text)]));
    });
    const answer = await ask(gateway.url, format);
    const url = gateway.url + (answer.headers.get('content-location') ?? '');
    const reads = [answer, readEvents(url)].map(async (response) => await (await response).text());
    const again = readAgain(client, url);
    // They may wait for it, and then read it, or come when it is there.
    await sleep(100);
    for (const socket of asking) socket.destroy();
    const [own = '', events = ''] = await Promise.all(reads);
    const error = lastOf(own);
    expect(payloads(error)[0]).toContain('The provider closed the');
    expect(lastOf(events)).toBe(error);
    expect(lastOf(await again)).toBe(error);
    expect(lastOf(await readAgain(client, url))).toBe(error);
  });
});
