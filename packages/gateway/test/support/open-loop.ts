import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { chatBody } from './requests.ts';

/** Who asks, and for what. */
export interface Asker {
  readonly name: string;
  readonly model: string;
  /** Its API key. Default: none. */
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that is to be sent at a time, whatever became of those before. */
export interface Planned {
  /** Milliseconds from the start of the load. */
  readonly atMs: number;
  readonly asker: Asker;
}

/** What became of a request. Times are milliseconds from the start of the load. */
export interface LoadRecord {
  readonly asker: string;
  /** When it should have been sent. All latencies count from here. */
  readonly intendedMs: number;
  /** When it was: later where the one that measures was late. */
  readonly sentMs: number;
  /** `undefined`: there was no answer. */
  status: number | undefined;
  /** When the head of the answer came. */
  headMs: number | undefined;
  firstTokenMs: number | undefined;
  endMs: number;
  tokens: number;
  /** Why a connection broke. */
  error: string | undefined;
  retryAfterS: number | undefined;
  /** What of it gave way to pressure, as the head of the answer says. */
  gaveWay: string | undefined;
  /** `refused`: 429, 503 or 529. `left`: by the reader, who had enough or lost its patience. `failed`: all else that is not the whole stream. */
  end: 'completed' | 'failed' | 'left' | 'refused';
}

export interface LoadOptions {
  readonly url: string;
  /** A reader leaves when nothing came for so long, of the head, the first token or the next ones. Default: 10 s. */
  readonly patienceMs?: number;
  /** A reader leaves after so many tokens. Default: it reads to the end. */
  readonly leaveAfterTokens?: number;
  /** All readers that are still there leave. */
  readonly signal?: AbortSignal;
}

/** Arrivals by a Poisson process, as those of many people who do not know of each other; the same for the same seed. */
export function poisson(
  asker: Asker,
  {
    durationMs,
    fromMs = 0,
    perSecond,
    seed,
  }: {
    readonly durationMs: number;
    readonly fromMs?: number;
    readonly perSecond: number;
    readonly seed: number;
  },
): Planned[] {
  const randomness = new VirtualClock({ seed });
  const planned: Planned[] = [];
  let atMs = fromMs;
  for (;;) {
    atMs -= (Math.log(1 - randomness.random()) / perSecond) * 1000;
    if (atMs >= fromMs + durationMs) return planned;
    planned.push({ atMs, asker });
  }
}

/**
 * Sends each request when its time has come, and not when an answer allows it: an open loop. With latencies that count
 * from the intended time, what is slow cannot hide the requests that it would have delayed (Gil Tene: coordinated omission;
 * his wrk2 does the same). Resolves when all have ended.
 *
 * @returns In the order of their times.
 */
export async function runLoad(planned: readonly Planned[], options: LoadOptions): Promise<LoadRecord[]> {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: Infinity });
  const startMs = performance.now();
  const running: Promise<LoadRecord>[] = [];
  for (const plan of planned.toSorted((a, b) => a.atMs - b.atMs)) {
    const waitMs = startMs + plan.atMs - performance.now();
    // A timer cuts fractions off, and nobody is to be sent too early.
    if (waitMs > 0) await sleep(Math.ceil(waitMs));
    running.push(ask(plan, { startMs, agent, ...options }));
  }
  const records = await Promise.all(running);
  agent.destroy();
  return records;
}

/** Begins each event with a token. The event before the first has a role in that place. */
const tokenMarker = '"delta":{"content":';

/** Sends one request, and reads what comes. */
function ask(
  { asker: { headers, key, model, name }, atMs }: Planned,
  {
    agent,
    leaveAfterTokens = Infinity,
    patienceMs = 10_000,
    signal,
    startMs,
    url,
  }: LoadOptions & { readonly agent: Agent; readonly startMs: number },
): Promise<LoadRecord> {
  const now = (): number => performance.now() - startMs;
  const record: LoadRecord = {
    asker: name,
    intendedMs: atMs,
    sentMs: now(),
    status: undefined,
    headMs: undefined,
    firstTokenMs: undefined,
    endMs: 0,
    tokens: 0,
    error: undefined,
    retryAfterS: undefined,
    gaveWay: undefined,
    end: 'failed',
  };
  return new Promise((resolve) => {
    const settle = (end: LoadRecord['end']): void => {
      clearTimeout(patience);
      signal?.removeEventListener('abort', leave);
      if (record.endMs === 0) Object.assign(record, { end, endMs: now() });
      resolve(record);
    };
    const leave = (): void => {
      settle('left');
      sent.destroy();
    };
    const patience = setTimeout(leave, patienceMs);
    signal?.addEventListener('abort', leave);
    const sent = request(`${url}/v1/chat/completions`, {
      agent,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...headers,
      },
    });
    // Also when a connection breaks behind a head.
    sent.on('error', (error: NodeJS.ErrnoException) => {
      record.error ??= error.code ?? error.message;
      settle('failed');
    });
    sent.on('close', () => settle('failed'));
    sent.on('response', (response) => {
      record.status = response.statusCode;
      record.headMs = now();
      const isRefused = [429, 503, 529].includes(response.statusCode ?? 0);
      const retryAfter = response.headers['retry-after'];
      record.gaveWay = response.headers['spillway-gave-way']?.toString();
      if (retryAfter !== undefined) record.retryAfterS = Number(retryAfter);
      let rest = '';
      let isWhole = false;
      response.setEncoding('latin1').on('data', (piece: string) => {
        patience.refresh();
        const text = rest + piece;
        // Fewer characters than a marker has: none is counted twice.
        rest = text.slice(1 - tokenMarker.length);
        const came = text.split(tokenMarker).length - 1;
        if (came > 0) record.firstTokenMs ??= now();
        record.tokens += came;
        isWhole ||= text.includes('data: [DONE]');
        if (record.tokens >= leaveAfterTokens) leave();
      });
      response.on('end', () => settle(isRefused ? 'refused' : isWhole ? 'completed' : 'failed'));
    });
    sent.end(chatBody(model));
  });
}

/** Whether a request was worth something to who asked: the whole stream, and its first token in time. */
export function isGood({ end, firstTokenMs, intendedMs }: LoadRecord, withinMs: number): boolean {
  return end === 'completed' && firstTokenMs !== undefined && firstTokenMs - intendedMs <= withinMs;
}
