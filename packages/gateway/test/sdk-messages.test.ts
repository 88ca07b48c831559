import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFetch, type SpillwayFetch } from '../../client/src/index.ts';
import { accumulators } from '../../core/test/format/accumulate.ts';
import {
  fixtures,
  type FormatName,
  formatNames,
  toEvents,
  type WireEvent,
} from '../../core/test/format/fixtures.ts';
import { readWire } from '../../core/test/format/joined-events.ts';
import type { Replay } from '../../core/test/format/replay.ts';
import { type AnsweringProvider, type Gateway, openAnsweringProvider } from './support/answering-provider.ts';

/**
 * What SDKs and frameworks (LangChain, the AI SDK) give their users, of every stream of the project: of the provider
 * directly, and through the gateway, as it comes and merged.
 */

let provider: AnsweringProvider;
let gateway: Gateway;
let session: SpillwayFetch;

beforeAll(async () => {
  provider = await openAnsweringProvider();
  gateway = await provider.openGateway();
  session = createFetch({ url: gateway.url });
});

afterAll(async () => {
  await session.close();
  await provider.close();
});

type Fetch = typeof fetch;

/** Sends what an SDK asks for to another address, and has it answered with a body, with a pause behind its first piece and before its last. */
function replayFrom(
  base: () => string,
  fetchBy: () => Fetch,
  more: Readonly<Record<string, string>> = {},
  pauseMs = 10,
): Replay {
  return (body) => {
    const pieces = body instanceof Uint8Array ? [body] : body;
    const name = provider.answer(async (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      // What comes together with the end is not merged.
      for (const [at, piece] of pieces.entries()) {
        response.write(piece);
        if (at === 0 || at === pieces.length - 2) await sleep(pauseMs);
      }
      response.end();
    });
    return async (input, init) => {
      const asked = new Request(input, init);
      const { pathname, search } = new URL(asked.url);
      const headers = new Headers(asked.headers);
      for (const [key, value] of Object.entries({ ...more, 'x-case': name })) headers.set(key, value);
      const text = await asked.text();
      const { signal } = asked;
      return await fetchBy()(base() + pathname + search, {
        method: asked.method,
        headers,
        body: text,
        signal,
      });
    };
  };
}

const direct = replayFrom(
  () => provider.url,
  () => fetch,
);
const gatewayUrl = (): string => gateway.url;
const ways: Readonly<Record<string, Replay>> = {
  'as it comes': replayFrom(gatewayUrl, () => fetch),
  merged: replayFrom(gatewayUrl, () => fetch, { 'spillway-merge-ms': '30' }),
  'with the client’s fetch': replayFrom(gatewayUrl, () => session),
};

function piecesOf(format: FormatName, events: readonly WireEvent[]): Uint8Array[] {
  return toEvents(format, events).map((text) => Buffer.from(text));
}

describe.each(formatNames)('promise 9: users of %s get the same message', (format) => {
  // A stream that is cut is an error here, on purpose.
  const whole = fixtures[format].filter(({ isCut }) => isCut !== true);
  // `wire` asks for nothing, and `generativeAi` takes no fetch (answers-only.test.ts has it).
  const sdks = Object.entries(accumulators[format]).filter(
    ([name]) => !['generativeAi', 'wire'].includes(name),
  );

  test.each(whole)('$name', async ({ events }) => {
    const bytes = piecesOf(format, events);
    const compare = async ([name, accumulate]: (typeof sdks)[number]): Promise<void> => {
      const expected = await accumulate(bytes, direct);
      const outcomes = Object.entries(ways).map(async ([way, replay]) => {
        expect(await accumulate(bytes, replay), `${name}, ${way}`).toEqual(expected);
      });
      await Promise.all(outcomes);
    };
    await Promise.all(sdks.map(compare));
  });

  test('of fewer events', async () => {
    const pieces = piecesOf(format, whole[0]?.events ?? []);
    const asked = { method: 'POST', body: '{"model":"m","stream":true}' };
    // The rest comes long before the second write.
    const merging = replayFrom(gatewayUrl, () => fetch, { 'spillway-merge-ms': '1000' }, 100);
    const response = await merging(pieces)(`http://sdk${paths[format]}`, asked);
    const merged = readWire(new Uint8Array(await response.arrayBuffer()));
    expect(merged.length).toBeLessThan(pieces.length / 2);
  });
});

const paths: Readonly<Record<FormatName, string>> = {
  'openai-chat': '/v1/chat/completions',
  'openai-responses': '/v1/responses',
  'openai-completions': '/v1/completions',
  'anthropic-messages': '/v1/messages',
  gemini: '/v1beta/models/m:streamGenerateContent?alt=sse',
};
