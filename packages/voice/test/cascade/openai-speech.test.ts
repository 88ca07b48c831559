import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openOpenAiSpeech, type Speaker, StageError } from '@spillway/voice';
import { serveSimulatedSpeakers } from '@spillway/voice/simulate/speaker';
import { speech } from '@spillway/voice/simulate/speech';
import { expect, onTestFinished, test } from 'vitest';
import { within } from '../../../core/test/support/within.ts';

const apiKey = 'sk-of-a-test-1234';
const text = 'We are open from nine to six.';

/** Speaks a text; the bytes of its audio. */
async function hear(speaker: Speaker, said = text): Promise<number> {
  let bytes = 0;
  for await (const event of speaker.speak(said, { signal: new AbortController().signal }))
    if (event.kind === 'audio') bytes += event.audio.byteLength;
  return bytes;
}

async function failure(speaker: Speaker): Promise<StageError> {
  const error: unknown = await within(
    hear(speaker).then(
      () => undefined,
      (reason: unknown) => reason,
    ),
    'a failure',
  );
  if (!(error instanceof StageError)) throw new TypeError(`expected a StageError, got ${String(error)}`);
  return error;
}

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('what is asked for is what the API takes, and the key is in its header alone', async () => {
  let asked:
    | { readonly url: string | undefined; readonly headers: IncomingHttpHeaders; body: string }
    | undefined;
  const url = await serve((request, response) => {
    const one = { url: request.url, headers: request.headers, body: '' };
    request.on('data', (piece: Buffer) => (one.body += piece.toString()));
    request.on('end', () => {
      asked = one;
      response.writeHead(200, { 'content-type': 'audio/pcm' });
      response.end(new Uint8Array(4800));
    });
  });
  for (const base of [url, `${url}/v1`, `${url}/v1/`]) {
    const speaker = openOpenAiSpeech({
      url: base,
      apiKey,
      model: 'gpt-4o-mini-tts',
      voice: 'marin',
      instructions: 'Be friendly.',
      speed: 1.25,
    });
    expect(await hear(speaker)).toBe(4800);
    expect(asked?.url).toBe('/v1/audio/speech');
    expect(asked?.headers.authorization).toBe(`Bearer ${apiKey}`);
    expect(JSON.parse(asked?.body ?? '')).toEqual({
      model: 'gpt-4o-mini-tts',
      input: text,
      voice: 'marin',
      instructions: 'Be friendly.',
      speed: 1.25,
      response_format: 'pcm',
    });
  }
});

test('a clip of the package sounds as it is, at another rate', async () => {
  const server = await serveSimulatedSpeakers();
  onTestFinished(() => server.close());
  const clip = speech('model-greeting');
  const bytes = await hear(openOpenAiSpeech({ url: server.openAiUrl }), clip.text);
  // 8,000 samples of one byte are 24,000 of two.
  expect(bytes).toBe(clip.audio.byteLength * 6);
  expect(server.asked).toMatchObject([{ text: clip.text, state: 'spoken' }]);
  expect(server.charactersPaid).toBe(clip.text.length);
});

test.each([
  [401, {}, 'unauthorized', undefined],
  [403, {}, 'unauthorized', undefined],
  [429, { 'retry-after': '2' }, 'rate_limited', 2000],
  [429, {}, 'rate_limited', undefined],
  [400, {}, 'refused', undefined],
  [404, {}, 'refused', undefined],
  [500, {}, 'unreachable', undefined],
  [503, { 'retry-after': '1' }, 'rate_limited', 1000],
] as const)('status %i is %j: %s', async (status, headers, code, retryAfterMs) => {
  const url = await serve((_request, response) => {
    response.writeHead(status, headers);
    const message = `It does not like ${apiKey}. ${'x'.repeat(5000)}`;
    response.end(JSON.stringify({ error: { message, code: 'no_such_voice' } }));
  });
  const error = await failure(openOpenAiSpeech({ url, apiKey }));
  expect(error).toMatchObject({ code, retryAfterMs });
  expect(error.message).toBe(`The speaker answered with HTTP status ${status} (no_such_voice).`);
});

test.each(['application/json', 'text/html', 'audio/mpeg', 'audio/wav'])(
  'an answer of %s is no speech',
  async (type) => {
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': type });
      response.end(new Uint8Array(100));
    });
    expect(await failure(openOpenAiSpeech({ url }))).toMatchObject({ code: 'bad_message' });
  },
);

test('a body that is shorter than it said, and one with half a sample, are lost', async () => {
  for (const [length, bytes] of [
    [9600, 4800],
    [4801, 4801],
  ] as const) {
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': String(length) });
      response.write(new Uint8Array(bytes));
      if (length === bytes) response.end();
      else setTimeout(() => response.destroy(), 20);
    });
    expect(await failure(openOpenAiSpeech({ url }))).toMatchObject({ code: 'lost' });
  }
});

test('what the double refuses: a wrong key, a wrong method, wrong fields', async () => {
  const server = await serveSimulatedSpeakers({ apiKey });
  onTestFinished(() => server.close());
  const ask = async (body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<number> => {
    const response = await fetch(`${server.openAiUrl}/v1/audio/speech`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    await response.arrayBuffer();
    return response.status;
  };
  const good = { model: 'tts-1', input: 'Hi.', voice: 'alloy', response_format: 'pcm' };
  expect(await ask(good)).toBe(200);
  for (const bad of [
    { ...good, input: '' },
    { ...good, input: 'x'.repeat(4097) },
    { ...good, response_format: 'mp3' },
    { ...good, speed: 5 },
    { ...good, instructions: 'Be nice.' },
    { ...good, other: 1 },
    { input: 'Hi.' },
    null,
  ])
    expect(await ask(bad)).toBe(400);
  expect(await ask(good, { 'content-type': 'text/plain' })).toBe(400);
  expect(await ask(good, { authorization: 'Bearer other' })).toBe(401);
  expect((await fetch(`${server.openAiUrl}/v1/audio/speech`)).status).toBe(405);
  expect((await fetch(`${server.openAiUrl}/v1/speech`)).status).toBe(404);
  expect(server.asked).toHaveLength(1);
});

test.each([
  [{ url: 'ws://a.example' }, 'url: expected a URL with http: or https:'],
  [{ model: '' }, 'model: expected the name of a model'],
  [{ apiKey: 'a b' }, 'apiKey: expected printable ASCII'],
  [{ speed: 5 }, 'speed: expected 0.25 to 4'],
  [{ firstAudioTimeoutMs: 0 }, 'firstAudioTimeoutMs: expected a whole number from 1'],
  [{ stallTimeoutMs: 1.5 }, 'stallTimeoutMs: expected a whole number from 1'],
])('options %j are refused', (options, message) => {
  expect(() => openOpenAiSpeech(options)).toThrow(message);
});
