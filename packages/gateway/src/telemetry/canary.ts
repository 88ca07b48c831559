import { randomBytes } from 'node:crypto';
import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Logger } from 'pino';
import type { Clock, Timer } from '@spillway/core/clock';
import type { ServerClock } from '@spillway/server/time/server-clock';

/** The provider behind the canary: a simulator of this process. No provider is asked, and nothing is paid. */
export const canaryName = 'spillway-canary';

/** How long a canary's stream may take. Whole, it lasts 100 ms. */
const timeoutMs = 10_000;
/** The most bytes of an answer that are read; a canary's has less than 5 KiB. */
const maxAnswerBytes = 65_536;
const model = 'sim:tokens=5,tps=50,ttft=0';

export interface CanaryOptions {
  readonly everyMs: number;
  /** The URL of the gateway's own listener for clients. */
  readonly url: string;
  /** The key by which the gateway knows its canary. */
  readonly key: string;
  /** Whether connections from this machine have to begin with the header of the PROXY protocol. */
  readonly hasProxyHeader: boolean;
  readonly clock: Pick<ServerClock, 'every' | 'dateMs'> & Pick<Clock, 'nowMs'>;
  readonly log: Logger;
}

/**
 * A small stream that the gateway asks itself for, at intervals and by its own listener, as a client would. It proves
 * that requests are accepted, have a place, get their events and end; not that a provider or the network answers.
 */
export class Canary {
  readonly #options: CanaryOptions;
  readonly #timer: Timer;
  #running: AbortController | undefined;
  readonly runs = { failed: 0, ok: 0 };
  /** When a stream was last as it should be; before the first, when the canary began. Milliseconds since 1970. */
  lastOkAtMs: number;
  /** How long the first token took in the latest stream that went well. */
  firstTokenMs: number | undefined;

  constructor(options: CanaryOptions) {
    this.#options = options;
    this.lastOkAtMs = options.clock.dateMs();
    this.#timer = options.clock.every(options.everyMs, () => {
      // One at a time: the next one is due when this one is over.
      if (this.#running === undefined) void this.#run();
    });
  }

  /** Stops the canary, also a stream that is under way. */
  close(): void {
    this.#timer.stop();
    this.#running?.abort();
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    const running = new AbortController();
    this.#running = running;
    const signal = AbortSignal.any([running.signal, AbortSignal.timeout(timeoutMs)]);
    try {
      this.firstTokenMs = await this.#stream(signal);
      this.lastOkAtMs = clock.dateMs();
      this.runs.ok += 1;
    } catch (error) {
      if (running.signal.aborted) return;
      this.runs.failed += 1;
      const reason = signal.aborted ? `It was not whole after ${timeoutMs} ms.` : String(error);
      log.warn({ reason }, 'the canary failed');
    } finally {
      this.#running = undefined;
    }
  }

  /** Reads one stream. Returns how long its first token took. */
  async #stream(signal: AbortSignal): Promise<number> {
    const { clock, key } = this.#options;
    const startedMs = clock.nowMs();
    const answer = await this.#ask(signal, {
      'content-type': 'application/json',
      authorization: `Bearer ${key}`,
      host: 'localhost',
      // A new connection each time, as a new client has it.
      connection: 'close',
      'user-agent': canaryName,
      // Not sampled: spans of the canary would only say that it runs.
      traceparent: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00`,
    });
    let text = '';
    let firstTokenMs: number | undefined;
    for await (const bytes of answer as AsyncIterable<Buffer>) {
      text += bytes.toString('latin1');
      if (text.length > maxAnswerBytes) throw new Error('expected a short answer, got a long one');
      if (text.includes('data: ')) firstTokenMs ??= clock.nowMs() - startedMs;
    }
    if (answer.statusCode !== 200) throw new Error(`expected status 200, got ${answer.statusCode}`);
    if (firstTokenMs === undefined || !text.includes('data: [DONE]')) {
      throw new Error('expected a whole stream, got a part of one');
    }
    return firstTokenMs;
  }

  #ask(signal: AbortSignal, headers: Record<string, string>): Promise<IncomingMessage> {
    const url = new URL('/v1/chat/completions', this.#options.url);
    // A listener at all addresses is reached at this machine's own.
    if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
    if (url.hostname === '[::]') url.hostname = '[::1]';
    const isSecure = url.protocol === 'https:';
    const { promise, reject, resolve } = Promise.withResolvers<IncomingMessage>();
    const request = (isSecure ? requestHttps : requestHttp)(url, {
      method: 'POST',
      headers,
      signal,
      // The connection leads to this process, whose certificate is made out to other names.
      ...(isSecure ? { rejectUnauthorized: false } : {}),
      ...(this.#options.hasProxyHeader ? { createConnection: () => connectAsProxy(url, isSecure) } : {}),
    });
    request.on('response', resolve).on('error', reject);
    request.end(JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'Tweet' }] }));
    return promise;
  }
}

/** Connects as a proxy does, for a connection of its own: the PROXY protocol calls that `UNKNOWN`. */
function connectAsProxy({ hostname, port }: URL, isSecure: boolean): Socket {
  const socket = connect({ host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) });
  socket.write('PROXY UNKNOWN\r\n');
  return isSecure ? connectTls({ socket, rejectUnauthorized: false }) : socket;
}
