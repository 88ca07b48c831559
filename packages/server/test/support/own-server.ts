import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Caller } from '../../src/access/caller.ts';
import { asGatewayError, invalidApiKey } from '../../src/errors.ts';
import { RequestMemory } from '../../src/memory/request-memory.ts';
import { answerDelete, answerGet, answerHead, type ReadRequest } from '../../src/read/read-answers.ts';
import { Sessions } from '../../src/session/sessions.ts';
import type { SessionRequests } from '../../src/session/session-requests.ts';
import { openLinks } from '../../src/sink/open-links.ts';
import { Paces } from '../../src/sink/paces.ts';
import { nodeClock } from '../../src/time/node-clock.ts';
import type { ServerClock } from '../../src/time/server-clock.ts';
import { Meter } from '../../src/stream/meter.ts';
import { Defects } from '../../src/defects.ts';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { config } from './stream-config.ts';
import type { Streams } from '../../src/stream/streams.ts';

const anybody: Caller = { name: '', tenant: '', owner: undefined };

/** Serves streams with Node's own server: reading by URL, and sessions. Resolves with its URL. */
export async function serveStreams(
  streams: Streams,
  requests?: SessionRequests,
  clock: ServerClock = nodeClock,
): Promise<string> {
  const paces = new Paces(openLinks());
  const { stallTimeoutMs, windowBytes } = config;
  const find = (token: string, { headers }: Pick<IncomingMessage, 'headers'>) => {
    const stream = streams.find(token);
    return stream?.mayRead({ caller: anybody, headers }) === true ? stream : undefined;
  };
  const answer = async (raw: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(raw.url ?? '', 'http://localhost');
    const token = /^\/streams\/([\w-]+)$/.exec(pathname)?.[1] ?? '';
    const request: ReadRequest = {
      raw,
      response,
      query: Object.fromEntries(searchParams),
      find: () => find(token, raw),
      take: () => undefined,
    };
    try {
      const options = { clock: nodeClock, paces, stallTimeoutMs, windowBytes };
      const said =
        raw.method === 'HEAD'
          ? await answerHead(request, options)
          : raw.method === 'DELETE'
            ? answerDelete(request)
            : await answerGet(request, options);
      if (said !== undefined) response.writeHead(said.status, said.headers).end(said.body);
    } catch (thrown) {
      const error = asGatewayError(thrown);
      const { body, headers } = error.answer(openaiChat);
      response.writeHead(error.status, headers).end(body);
    }
  };
  const server = createServer((raw, response) => void answer(raw, response));
  const sessions = new Sessions({
    clock,
    config: {
      ...config,
      maxHeaderBytes: 16_384,
      maxMessageBytes: 1_048_576,
      maxRequestMemoryBytes: 16_777_216,
      maxSessionStreams: 64,
      requestTimeoutMs: 30_000,
    },
    defects: new Defects({ error: () => undefined }),
    door: {
      refusal: () => undefined,
      refuse: (socket) => socket.destroy(),
      known: () => undefined,
    },
    find: (token, _caller, headers) => find(token, { headers }),
    guard: { needsKey: false, identify: () => anybody, keyRefusal: invalidApiKey },
    isReady: () => true,
    isStopping: () => false,
    memory: new RequestMemory(16_777_216),
    meter: new Meter(),
    paces,
    requests,
    retained: streams.retained,
  });
  sessions.listen(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    sessions.close();
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
