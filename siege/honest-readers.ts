import OpenAI from 'openai';
import { Agent, fetch as undiciFetch } from 'undici';
import { type Client, createFetch, openClient } from '../packages/client/src/index.ts';
import { chatBody } from '../packages/gateway/test/support/requests.ts';
import { ChatText } from './chat-text.ts';
import type { Watch } from './watch.ts';

/** One stream to read. */
interface Reading {
  readonly url: string;
  readonly key: string;
  readonly model: string;
  readonly signal: AbortSignal;
  readonly watch: Watch;
  /** One more reader of the same stream, with a watch of its own. It asks again while it is refused. */
  readonly beside: (read: (watch: Watch) => Promise<void>) => Promise<void>;
}

/** Reads a stream to its end. Rejects if it fails, or if a byte is missing. */
type Reader = (reading: Reading) => Promise<void>;

const chatPath = '/v1/chat/completions';

/** The ways in which clients read a stream. */
export const readers = {
  /** Plain HTTP, over a connection of its own. */
  fetch: (reading) =>
    withAgent(async (agent) => await readBody((await post(reading, agent)).body, reading.watch)),

  /** The official SDK, over connections that are used again. */
  sdk: async ({ key, model, signal, url, watch }) => {
    const fetchOptions = { dispatcher: (sdkAgent ??= new Agent()) };
    const openai = new OpenAI({
      baseURL: `${url}/v1`,
      apiKey: key,
      maxRetries: 0,
      fetch: undiciFetch as unknown as typeof fetch,
      fetchOptions,
    });
    const messages = [{ role: 'user' as const, content: 'Hello' }];
    const chunks = await openai.chat.completions.create({ model, messages, stream: true }, { signal });
    for await (const { choices } of chunks) {
      const text = choices[0]?.delta.content ?? '';
      if (text !== '') watch.add(text);
    }
    watch.end();
  },

  /** A session of its own, through Spillway's `fetch`. */
  session: async ({ key, model, signal, url, watch }) => {
    const fetch = createFetch({ url });
    try {
      const response = await fetch(url + chatPath, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: chatBody(model),
        signal,
      });
      if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`);
      await readBody(response.body, watch);
    } finally {
      await fetch.close();
    }
  },

  /** A session that many streams share, one after the other. */
  client: async ({ key, model, signal, url, watch }) => {
    const headers = { authorization: `Bearer ${key}` };
    const reader = clientOf(url).request(chatPath, { body: chatBody(model), headers, signal });
    const text = new ChatText((piece) => watch.add(piece));
    for await (const item of reader) {
      if (item.type === 'chunk') text.push(item.bytes);
      if ('to' in item) reader.ack(item.to);
    }
    text.end();
    watch.end();
  },

  /** Plain HTTP, and beside it a `GET` on the stream's URL. */
  url: (reading) =>
    withAgent(async (agent) => {
      const response = await post(reading, agent);
      const get = async (watch: Watch): Promise<void> => {
        const location = response.headers.get('content-location') ?? '';
        const second = await undiciFetch(new URL(location, reading.url), {
          headers: { accept: 'text/event-stream', authorization: `Bearer ${reading.key}` },
          signal: reading.signal,
          dispatcher: agent,
        });
        if (!second.ok) throw new Error(`status ${second.status}: ${await second.text()}`);
        await readBody(second.body, watch);
      };
      await Promise.all([readBody(response.body, reading.watch), reading.beside(get)]);
    }),
} as const satisfies Readonly<Record<string, Reader>>;

export type ReaderKind = keyof typeof readers;

const clients = new Map<string, Client>();
/** The connections of the SDK: those of Node's own `fetch` would stay open, for as long as the gateway lets them. */
let sdkAgent: Agent | undefined;

function clientOf(url: string): Client {
  const client = clients.get(url) ?? openClient({ url });
  clients.set(url, client);
  return client;
}

/** Closes what readers share. */
export async function closeReaders(): Promise<void> {
  for (const client of clients.values()) await client.close();
  clients.clear();
  await sdkAgent?.destroy();
  sdkAgent = undefined;
}

async function withAgent(work: (agent: Agent) => Promise<void>): Promise<void> {
  const agent = new Agent();
  try {
    await work(agent);
  } finally {
    await agent.destroy();
  }
}

async function post({ key, model, signal, url }: Reading, dispatcher: Agent): ReturnType<typeof undiciFetch> {
  const response = await undiciFetch(url + chatPath, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: chatBody(model),
    signal,
    dispatcher,
  });
  if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`);
  return response;
}

async function readBody(body: unknown, watch: Watch): Promise<void> {
  const text = new ChatText((piece) => watch.add(piece));
  for await (const bytes of (body ?? []) as AsyncIterable<Uint8Array>) text.push(bytes);
  text.end();
  watch.end();
}
