import { createHash } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { ErrorReply } from '@redis/client';
import { dialRedis, type RedisClient, within } from './dial-redis.ts';
import { type RedisAddress, shownAddress } from './redis-address.ts';
import { RedisFailure, redisFailure } from './redis-failure.ts';

/** How long a connection may take, with TLS, the password and the script. */
const dialTimeoutMs = 5000;
/** Between two tries to connect: twice as long each time, up to the second, and up to half of it more by chance. */
const minPauseMs = 50;
const maxPauseMs = 1000;
/** Between two probes, after a refusal. */
const probeMs = 500;

interface RedisConnectionOptions {
  readonly address: RedisAddress;
  readonly tls: ConnectionOptions | undefined;
  /** What all calls run. */
  readonly script: string;
  /** A command that changes something, to find out whether Redis takes changes again after it refused one. */
  readonly probe: readonly string[];
  readonly deadlineMs: number;
  /** The calls that may wait at once. */
  readonly maxCalls: number;
  /** Called when Redis fails after it worked, and when it works after it failed: with what is wrong, or `undefined`. */
  readonly onChange: (problem: RedisFailure | undefined) => void;
}

/**
 * One connection to a Redis, for calls of one script. Nothing is queued for a connection that may come: while there is none,
 * calls reject at once; only those before the first try to connect has ended wait for it. A call without an answer by its
 * deadline ends the connection, and so everything that waits for it: a server that is silent keeps no memory here.
 */
export class RedisConnection {
  readonly #options: RedisConnectionOptions;
  readonly #where: string;
  readonly #digest: string;
  readonly #closing = new AbortController();
  /** Rejects calls that wait. */
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #first = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  #client: RedisClient | undefined;
  /** The calls that the server has not answered, also those that nobody waits for any more. */
  #sent = 0;
  #lose: (error: unknown) => void = () => undefined;
  #problem: RedisFailure | undefined;
  /** The problem is an answer of the server, and not that there is none. */
  #hasRefused = false;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.#where = shownAddress(options.address);
    this.#digest = createHash('sha1').update(options.script).digest('hex');
    this.#ended = this.#keepConnected();
  }

  /** What is wrong; `undefined`: nothing, as far as is known. */
  get problem(): RedisFailure | undefined {
    return this.#problem;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Runs the script. Rejects with a {@link RedisFailure}, also after a close, or with the signal's reason. */
  async run(keys: readonly string[], words: readonly string[], signal: AbortSignal): Promise<unknown> {
    signal.throwIfAborted();
    const { maxCalls } = this.#options;
    if (this.isClosed) throw this.#failure('it was closed');
    if (Math.max(this.#waiting.size, this.#sent) >= maxCalls)
      throw this.#failure(`${maxCalls} calls wait for an answer already`);
    const { promise, reject, resolve } = Promise.withResolvers<unknown>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.add(reject);
    this.#send(keys, words).then(resolve, reject);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(reject);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Rejects all calls and ends the connection. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const reject of this.#waiting) reject(this.#failure('it was closed'));
    this.#first.resolve();
    this.#lose(undefined);
    await this.#ended;
  }

  async #send(keys: readonly string[], words: readonly string[]): Promise<unknown> {
    const { deadlineMs, script } = this.#options;
    const endMs = performance.now() + deadlineMs;
    if (this.#client === undefined && this.#problem === undefined)
      await within(this.#first.promise, { timeoutMs: deadlineMs, signal: this.#closing.signal }).catch(
        (error: unknown) => Promise.reject(this.#failure(error)),
      );
    const client = this.#client;
    if (client === undefined) throw this.#problem ?? this.#failure('there is no connection');
    const lose = this.#lose;
    this.#sent += 1;
    let immediate: NodeJS.Immediate | undefined;
    // What came while this process was busy is still read. The timer goes on when nobody waits: the server has to answer.
    const timer = setTimeout(() => {
      immediate = setImmediate(() => lose(new Error(`no answer within ${deadlineMs} ms`)));
    }, endMs - performance.now());
    const tail = [String(keys.length), ...keys, ...words];
    try {
      return await client.sendCommand(['EVALSHA', this.#digest, ...tail]).catch((error: unknown) => {
        // Scripts were flushed, or another server answers now: EVAL brings the script along.
        if (isReply(error, 'NOSCRIPT')) return client.sendCommand(['EVAL', script, ...tail]);
        throw error;
      });
    } catch (error) {
      // A connection that was lost has said why.
      if (client !== this.#client) throw this.#problem ?? this.#failure(error);
      const failure = this.#failure(error);
      if (!this.#hasRefused) this.#refused(client, failure);
      // A master that became a replica: where it was, or at its sentinels, there may be another one now.
      if (isReply(error, 'READONLY')) lose(failure);
      throw failure;
    } finally {
      this.#sent -= 1;
      clearTimeout(timer);
      clearImmediate(immediate);
    }
  }

  async #keepConnected(): Promise<void> {
    let pauseMs = minPauseMs;
    while (!this.isClosed) {
      try {
        await this.#connectOnce(() => (pauseMs = minPauseMs));
      } catch (error) {
        if (!this.isClosed) this.#tell(this.#failure(error));
      }
      this.#first.resolve();
      if (!this.isClosed) await this.#pause(pauseMs * (1 + Math.random() / 2));
      pauseMs = Math.min(maxPauseMs, pauseMs * 2);
    }
  }

  /** Connects, and rejects with what ended the connection. Resolves after a close. */
  async #connectOnce(connected: () => void): Promise<void> {
    const { promise, reject, resolve } = Promise.withResolvers<void>();
    // A connection that is lost before the script is loaded rejects both, and only that of the script is awaited.
    promise.catch(() => undefined);
    const { address, script, tls } = this.#options;
    const limits = { timeoutMs: dialTimeoutMs, signal: this.#closing.signal };
    let lose = reject;
    const client = await dialRedis({ ...limits, address, tls, onLost: (error) => lose(error) });
    try {
      await within(client.sendCommand(['SCRIPT', 'LOAD', script]), limits);
      lose = (error: unknown) => {
        if (this.#client !== client) return;
        this.#client = undefined;
        if (error === undefined) resolve();
        else {
          this.#tell(this.#failure(error));
          reject(error);
        }
        // Rejects what waits for an answer.
        client.destroy();
      };
      this.#lose = lose;
      this.#client = client;
      connected();
      // After a refusal, a connection alone proves nothing.
      if (!this.#hasRefused) this.#tell(undefined);
      else this.#probe(client);
      this.#first.resolve();
      await promise;
    } finally {
      client.destroy();
    }
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end, { once: true });
    });
  }

  #refused(client: RedisClient, failure: RedisFailure): void {
    this.#hasRefused = true;
    this.#tell(failure);
    this.#probe(client);
  }

  /** Tries until Redis takes a change, or the connection is lost. */
  #probe(client: RedisClient): void {
    const probe = async (): Promise<void> => {
      while (this.#client === client && this.#hasRefused) {
        await this.#pause(probeMs);
        if (this.#client !== client) return;
        const limits = { timeoutMs: this.#options.deadlineMs, signal: this.#closing.signal };
        try {
          await within(client.sendCommand(this.#options.probe), limits);
          if (this.#client === client) this.#tell(undefined);
        } catch (error) {
          if (!(error instanceof ErrorReply) && this.#client === client) this.#lose(error);
        }
      }
    };
    void probe();
  }

  #tell(problem: RedisFailure | undefined): void {
    const before = this.#problem;
    this.#problem = problem;
    if (problem === undefined) this.#hasRefused = false;
    if ((before === undefined) !== (problem === undefined)) this.#options.onChange(problem);
  }

  #failure(error: unknown): RedisFailure {
    if (error instanceof RedisFailure) return error;
    return redisFailure(this.#where, error, this.#options.address.password);
  }
}

function isReply(error: unknown, code: string): boolean {
  return error instanceof ErrorReply && error.message.startsWith(code);
}
