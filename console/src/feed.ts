import { type Client, ClientError, openClient } from '@spillway/client';
import type { ProvidersSnapshot } from '../../packages/gateway/src/telemetry/providers-snapshot.ts';
import type { CallsSnapshot } from '../../packages/gateway/src/voice/calls-snapshot.ts';
import type { About, Overview, StreamDetail, Totals } from '../../packages/server/src/console/snapshot.ts';

/** How fresh what is shown is; `idle`: nothing is followed. */
export type Freshness = 'connecting' | 'idle' | 'live' | 'lost';

/** Why a feed ended. */
type FeedEnd = 'not_found' | 'over';

/** Everything that the page gets from the gateway. */
export interface Feed {
  /** For the playground, whose streams take the same connection. */
  readonly client: Client;
  /** Snapshots of the gateway, one a second, until the function that it returns is called. */
  followOverview(follower: Follower<Overview>): () => void;
  /** Snapshots of one stream, four a second. */
  followStream(id: string, follower: Follower<StreamDetail>): () => void;
  /** Snapshots of the calls, four a second. */
  followCalls(follower: Follower<CallsSnapshot>): () => void;
  /** Snapshots of what stands before providers, four a second. */
  followProviders(follower: Follower<ProvidersSnapshot>): () => void;
  /** The last ten minutes, oldest first. */
  readHistory(): Promise<readonly Totals[]>;
  /** Reads an answer in JSON. Rejects with a {@link FeedError} if it is an error. */
  readJson<T>(path: string, signal?: AbortSignal): Promise<T>;
  /** Does something for the operator. Rejects with a {@link FeedError} if the gateway refuses. */
  act(path: string): Promise<void>;
  /**
   * Begins something, and reads its answer line by line, each in JSON, until it ends. Rejects with a {@link FeedError} if the
   * gateway refuses, and otherwise when the connection is lost.
   */
  readLines(path: string, onLine: (line: unknown) => void, signal: AbortSignal): Promise<void>;
  /** Plain HTTP, with the key. */
  fetch(path: string, init?: { readonly method?: 'POST'; readonly signal?: AbortSignal }): Promise<Response>;
  close(): void;
}

/** What the gateway answers instead. */
export class FeedError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Follower<T> {
  readonly onSnapshot: (snapshot: T) => void;
  readonly onEnd: (why: FeedEnd) => void;
}

// Below a second, so that a gateway that restarts is seen at once, and two pages that wait do not ask together.
const retryMs = 700;
// Snapshots come once a second: after so long without one, something is wrong.
const staleMs = 4000;

export async function readAbout(): Promise<About> {
  const response = await fetch('about');
  if (!response.ok) throw new Error(`GET /about answers ${response.status}`);
  return (await response.json()) as About;
}

/** Whether the gateway takes a key. */
export async function takesKey(key: string): Promise<boolean> {
  const { status } = await fetch('history', { headers: headersOf(key) });
  return status !== 401;
}

/** One connection for all that the page shows. */
export function openFeed(key: string, onFreshness: (freshness: Freshness) => void): Feed {
  let followers = 0;
  const headers = headersOf(key);
  const client = openClient({
    url: './',
    headers,
    // A page that somebody looks at never gives up.
    giveUpAfterMs: 2_147_483_647,
    fallbackMs: retryMs,
    onEvent: ({ type }) => {
      if (type === 'disconnected' && followers > 0) onFreshness('lost');
    },
  });
  const follow = <T>(path: string, follower: Follower<T>): (() => void) => {
    const stop = new AbortController();
    followers += 1;
    onFreshness('connecting');
    const context = { client, path, onFreshness, signal: stop.signal };
    void followUntilEnd(context, follower);
    return () => {
      stop.abort();
      followers -= 1;
      onFreshness('idle');
    };
  };
  const ask = async (path: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(path, init);
    if (response.ok) return response;
    const text = await response.text();
    throw new FeedError(response.status, messageIn(text) ?? `The gateway answers ${response.status}.`);
  };
  const readJson = async <T>(path: string, signal?: AbortSignal): Promise<T> => {
    const response = await ask(path, { headers, ...(signal === undefined ? {} : { signal }) });
    return (await response.json()) as T;
  };
  const post = (path: string, init: RequestInit = {}): Promise<Response> =>
    ask(path, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, ...init });
  return {
    client,
    followCalls: (follower) => follow('/streams/calls', follower),
    followOverview: (follower) => follow('/streams/overview', follower),
    followStream: (id, follower) => follow(`/streams/${encodeURIComponent(id)}`, follower),
    followProviders: (follower) => follow('/streams/providers', follower),
    readHistory: () => readJson('history'),
    readJson,
    async act(path) {
      await post(path);
    },
    async readLines(path, onLine, signal) {
      const { body } = await post(path, { signal });
      const decoder = new TextDecoder();
      let rest = '';
      for await (const bytes of body ?? []) {
        const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) onLine(JSON.parse(line));
      }
    },
    fetch: (path, init) => fetch(path, { headers, ...init }),
    close: () => void client.close(),
  };
}

function headersOf(key: string): Readonly<Record<string, string>> {
  return key === '' ? {} : { authorization: `Bearer ${key}` };
}

/** The words of an error, as the gateway writes it. */
function messageIn(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { readonly error?: { readonly message?: string } };
    return error?.message;
  } catch {
    return undefined;
  }
}

interface Context {
  readonly client: Client;
  readonly path: string;
  readonly signal: AbortSignal;
  readonly onFreshness: (freshness: Freshness) => void;
}

/** Reads until the feed is over for good; what ends it otherwise is waited out. */
async function followUntilEnd<T>(context: Context, follower: Follower<T>): Promise<void> {
  const { signal } = context;
  while (!signal.aborted) {
    const end = await readToEnd(context, (json) => follower.onSnapshot(JSON.parse(json) as T));
    if (signal.aborted) return;
    if (end === 'asleep') continue;
    if (end !== undefined) {
      // Nothing comes any more, and nothing is missing.
      context.onFreshness('idle');
      follower.onEnd(end);
      return;
    }
    context.onFreshness('lost');
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

/**
 * Returns why the feed is over; `undefined`: it is not, and has to be opened again. `asleep`: the page took nothing for
 * so long that the gateway let it go, which is as it should be.
 */
async function readToEnd(
  { client, onFreshness, path, signal }: Context,
  onSnapshot: (json: string) => void,
): Promise<FeedEnd | 'asleep' | undefined> {
  // The smallest window: one snapshot is on its way, never two.
  const reader = client.read(path, { from: 'now', overflow: 'latest', windowBytes: 1024, signal });
  const decoder = new TextDecoder();
  let staleTimer: ReturnType<typeof setTimeout> | undefined;
  try {
    for await (const item of reader) {
      clearTimeout(staleTimer);
      if (item.type === 'chunk' && item.from < item.to) {
        onFreshness('live');
        onSnapshot(decoder.decode(item.bytes));
      }
      // The one place where the page asks for more: it has painted what it has, and somebody sees it. A hidden tab
      // gets no frame, takes nothing, and so the gateway makes nothing.
      await nextPaint();
      reader.ack(item.to);
      staleTimer = setTimeout(() => onFreshness('lost'), staleMs);
    }
    return 'over';
  } catch (error) {
    const code = error instanceof ClientError ? error.code : undefined;
    if (code === 'reader_stalled') return 'asleep';
    return code === 'not_found' ? 'not_found' : undefined;
  } finally {
    clearTimeout(staleTimer);
  }
}

/** The first frame is painted after the callback, so the second one is behind what was rendered. */
function nextPaint(): Promise<void> {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve())));
}
