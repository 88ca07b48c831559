import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { GoogleGenerativeAI } from '@google/generative-ai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Client, createFetch, openClient } from '../../client/src/index.ts';
import { eventually, startGateway } from './support/processes.ts';
import { metric } from './support/requests.ts';

/** `@google/generative-ai` takes everything in a stream for a piece of the answer. Direct, and through the gateway. */

interface Seen {
  readonly text: string;
  readonly error: string | undefined;
}

async function read(baseUrl: string, onText = (): void => undefined): Promise<Seen> {
  const model = new GoogleGenerativeAI('k').getGenerativeModel({ model: 'm' }, { baseUrl });
  let text = '';
  try {
    const { response, stream } = await model.generateContentStream('Hello');
    // It rejects together with the stream.
    response.catch(() => undefined);
    for await (const chunk of stream) {
      text += chunk.text();
      onText();
    }
    return { text, error: undefined };
  } catch (error) {
    return { text, error: (error as Error).message.replace(baseUrl, 'there') };
  }
}

function eventOf(text: string, finishReason?: string): string {
  return `data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text }], role: 'model' }, finishReason, index: 0 }] })}\r\n\r\n`;
}

/** A gateway with comments after 25 ms of silence, in front of a provider that answers like this. */
async function startWith(
  answer: (response: ServerResponse) => Promise<void> | void,
  args: readonly string[] = [],
): Promise<{ readonly direct: string; readonly through: string; readonly adminUrl: string }> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => void Promise.resolve(answer(response)));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const direct = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const upstream = ['--upstream', `api=gemini,url=${direct}`];
  const gateway = await startGateway([...upstream, '--keep-alive-ms', '25', ...args]);
  return { direct, through: gateway.url, adminUrl: gateway.adminUrl };
}

interface Rest {
  readonly text: string;
  readonly error: unknown;
}

interface Again {
  /** Something has come. */
  readonly begun: Promise<unknown>;
  readonly whole: Promise<Rest>;
}

/** What comes, and how it ends. */
async function restOf(
  reader: ReadableStreamDefaultReader<Uint8Array> | undefined,
  onBytes = (): void => undefined,
): Promise<Rest> {
  let text = '';
  try {
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      text += Buffer.from(part.value).toString();
      onBytes();
    }
    return { text, error: undefined };
  } catch (error) {
    return { text, error };
  }
}

function readByHttp(url: string, headers: Readonly<Record<string, string>>): Again {
  const begun = Promise.withResolvers<void>();
  const answer = fetch(url, { headers: { accept: 'text/event-stream', ...headers } });
  const whole = answer.then((response) => restOf(response.body?.getReader(), begun.resolve));
  return { begun: begun.promise, whole };
}

function readByClient(client: Client, url: string, headers: Readonly<Record<string, string>>): Again {
  const begun = Promise.withResolvers<void>();
  const reader = client.read(url, { headers, autoAck: true });
  const readAll = async (): Promise<Rest> => {
    let text = '';
    try {
      for await (const item of reader) {
        if (item.type === 'chunk') text += Buffer.from(item.bytes).toString();
        begun.resolve();
      }
      return { text, error: undefined };
    } catch (error) {
      return { text, error };
    }
  };
  return { begun: begun.promise, whole: readAll() };
}

function begin(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(eventOf('Hello'));
}

describe('2.6 a client that takes comments for pieces of an answer', () => {
  test('gets none, however long the provider is silent', async () => {
    const { direct, through } = await startWith(async (response) => {
      await sleep(200);
      begin(response);
      await sleep(200);
      response.end(eventOf(' there', 'STOP'));
    });
    expect(await read(direct)).toEqual({ text: 'Hello there', error: undefined });
    expect(await read(through)).toEqual({ text: 'Hello there', error: undefined });
  });

  test('gets a refusal as one, however late', async () => {
    const { direct, through } = await startWith(async (response) => {
      await sleep(200);
      response.writeHead(429, { 'content-type': 'application/json' });
      response.end('{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED"}}');
    });
    const seen = await read(through);
    expect(seen).toEqual(await read(direct));
    expect(seen.error).toContain('[429 Too Many Requests] Slow down.');
  });

  test('promise 7: throws when the stream is cut, and has what came before', async () => {
    let cut: () => void;
    const { direct, through } = await startWith((response) => {
      begin(response);
      cut = () => response.destroy();
    });
    const seen = await read(through, () => cut());
    expect(seen).toEqual(await read(direct, () => cut()));
    expect(seen).toEqual({ text: 'Hello', error: expect.stringContaining('Error reading from the stream') });
  });

  test('promise 7: throws when the stream is cut, by the client’s fetch', async () => {
    let cut: () => void;
    const { through } = await startWith((response) => {
      begin(response);
      cut = () => response.destroy();
    });
    const session = createFetch({ url: through });
    const { fetch } = globalThis;
    // The SDK takes none as an option.
    globalThis.fetch = session;
    onTestFinished(async () => {
      globalThis.fetch = fetch;
      await session.close();
    });
    const seen = await read(through, () => cut());
    expect(seen).toEqual({ text: 'Hello', error: expect.stringContaining('Error reading from the stream') });
  });

  describe('promise 7: that reads the stream again is told of a cut by no event', () => {
    const who = { 'x-goog-api-client': 'genai-js/0.24.1' };
    const asked = {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...who },
      body: '{"contents":[]}',
    };
    const path = '/v1beta/models/m:streamGenerateContent?alt=sse';

    test('when its reader was ended and reads on by itself', async () => {
      let cut = (): void => undefined;
      const { adminUrl, through } = await startWith(
        (response) => {
          begin(response);
          // More than the windows on the way.
          for (let count = 0; count < 4000; count += 1) response.write(eventOf('Hello'.repeat(20)));
          cut = () => response.destroy();
        },
        ['--stall-timeout-ms', '300', '--pause-ms', '900'],
      );
      const session = createFetch({ url: through, windowBytes: 1024 });
      onTestFinished(() => session.close());
      const body = (await session(path, asked)).body?.getReader();
      await body?.read();
      await eventually(
        async () => (await metric(adminUrl, 'spillway_readers_ended_total{reason="stalled"}')) === 1,
        'it to be ended',
      );
      cut();
      const { error, text } = await restOf(body);
      expect([text.includes('Hello'), error]).toEqual([true, expect.anything()]);
      expect(text).not.toContain('"error"');
      expect(error).toMatchObject({ code: 'upstream_cut' });
    });

    test.each(['over a session', 'as events by HTTP'])('%s, by the URL', async (how) => {
      let cut = (): void => undefined;
      const { through } = await startWith((response) => {
        begin(response);
        cut = () => response.destroy();
      });
      const answer = await fetch(through + path, asked);
      const url = through + (answer.headers.get('content-location') ?? '');
      const client = openClient({ url: through });
      onTestFinished(() => client.close());
      const again = how === 'over a session' ? readByClient(client, url, who) : readByHttp(url, who);
      const own = restOf(answer.body?.getReader());
      await again.begun;
      // Long enough for comments.
      await sleep(200);
      cut();
      const { error, text } = await again.whole;
      expect(text.replaceAll(/^id: [^\n]*\n|\r/gm, '')).toBe(eventOf('Hello').replaceAll('\r', ''));
      expect(error).toBeInstanceOf(Error);
      expect((await own).error).toBeInstanceOf(Error);
    });
  });

  test('promise 7: throws when the stream ends without a reason', async () => {
    const { through } = await startWith((response) => {
      begin(response);
      response.end();
    });
    expect(await read(through)).toEqual({
      text: expect.any(String),
      error: expect.stringContaining('stream'),
    });
  });
});

test('others get comments, and an error as an event', async () => {
  const { through } = await startWith(async (response) => {
    begin(response);
    await sleep(200);
    response.destroy();
  });
  const response = await fetch(`${through}/v1beta/models/m:streamGenerateContent?alt=sse`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-goog-api-client': 'google-genai-sdk/3.1.0 gl-node/26' },
    body: '{"contents":[]}',
  });
  const text = await response.text();
  expect(text).toContain(': ping\n\n');
  expect(text).toContain('The provider closed the stream before its end');
});
