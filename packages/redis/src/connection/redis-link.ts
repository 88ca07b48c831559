import { createHash } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { ErrorReply, RESP_TYPES } from '@redis/client';
import { dialRedis, NotInTime, type RedisClient, type RedisWord, within } from './dial-redis.ts';
import { type RedisAddress, shownAddress } from './redis-address.ts';
import { RedisFailure, redisFailure } from './redis-failure.ts';

/** Where a link goes, and how long it waits. */
export interface RedisLinkOptions {
  readonly address: RedisAddress;
  readonly tls: ConnectionOptions | undefined;
  /** How long each step of a connection may take. */
  readonly openTimeoutMs: number;
  /** How long an answer may take. */
  readonly deadlineMs: number;
}

/** A script, and the digest that Redis knows it by. */
export interface RedisScript {
  readonly text: string;
  readonly digest: string;
}

/** A call of a script. */
export interface ScriptCall {
  readonly script: RedisScript;
  readonly keys: readonly string[];
  readonly words: readonly RedisWord[];
}

const bytesMapping = { [RESP_TYPES.NUMBER]: String, [RESP_TYPES.BLOB_STRING]: Buffer };

export function redisScript(text: string): RedisScript {
  return { text, digest: createHash('sha1').update(text).digest('hex') };
}

/** The connection was lost, and what became of the call is not known. */
class LostConnection extends RedisFailure {}

/** Redis has answered that it does not do it. */
export class RefusedCall extends RedisFailure {}

/**
 * One connection to a Redis, made when somebody needs it, for one call at a time. Nothing is queued: a call that is aborted, or has no answer by its deadline, ends the connection, and with it whatever was not sent yet. So a
 * server that is silent keeps one call in memory here at most. All rejections are a {@link RedisFailure}, or the signal's reason.
 */
export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #greet: (client: RedisClient, signal: AbortSignal) => Promise<void>;
  readonly #closing = new AbortController();
  #client: RedisClient | undefined;

  /** @param greet is called for each new connection, before anybody else has it. */
  constructor(
    options: RedisLinkOptions,
    greet: (client: RedisClient, signal: AbortSignal) => Promise<void> = async () => {},
  ) {
    this.#options = options;
    this.#greet = greet;
  }

  /**
   * Does some work by the connection that is there, or by a new one. One that was there may have been lost long ago, which shows
   * when it is used: then the work is done once more, and so has to be none that counts twice.
   */
  async use<Value>(signal: AbortSignal, work: (client: RedisClient) => Promise<Value>): Promise<Value> {
    const isOld = this.#client !== undefined;
    try {
      return await work(await this.#connect(signal));
    } catch (error) {
      if (!isOld || !(error instanceof LostConnection) || this.#closing.signal.aborted) throw error;
    }
    return work(await this.#connect(signal));
  }

  /** The connection that is there, or a new one. */
  async #connect(signal: AbortSignal): Promise<RedisClient> {
    signal.throwIfAborted();
    if (this.#client !== undefined) return this.#client;
    const { address, openTimeoutMs: timeoutMs, tls } = this.#options;
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    let dialed: RedisClient | undefined;
    try {
      const onLost = (): void => this.#drop(dialed);
      dialed = await dialRedis({ address, tls, timeoutMs, signal: stop, onLost });
      await this.#greet(dialed, stop);
      stop.throwIfAborted();
      this.#client = dialed;
      return dialed;
    } catch (error) {
      dialed?.destroy();
      signal.throwIfAborted();
      throw this.#failure(error);
    }
  }

  /** Runs a command. `waitMs`: how long the command itself lets Redis wait. */
  async call(
    client: RedisClient,
    words: readonly RedisWord[],
    signal: AbortSignal,
    waitMs = 0,
  ): Promise<unknown> {
    return this.#answered(client, signal, () => client.sendCommand(words), waitMs);
  }

  /** Runs a command for what need not be text: texts in the answer are bytes, and numbers are texts. */
  async callForBytes(
    client: RedisClient,
    words: readonly RedisWord[],
    signal: AbortSignal,
  ): Promise<unknown> {
    return this.#answered(client, signal, () => client.sendCommand(words, { typeMapping: bytesMapping }));
  }

  /** Runs a script. Texts in the answer are bytes, and numbers are texts. */
  async run(client: RedisClient, { keys, script, words }: ScriptCall, signal: AbortSignal): Promise<unknown> {
    const tail = [String(keys.length), ...keys, ...words];
    const options = { typeMapping: bytesMapping };
    return this.#answered(client, signal, () =>
      client.sendCommand(['EVALSHA', script.digest, ...tail], options).catch((error: unknown) => {
        // A new server, or one whose scripts were flushed: EVAL brings the script along.
        if (isReply(error, 'NOSCRIPT')) return client.sendCommand(['EVAL', script.text, ...tail], options);
        throw error;
      }),
    );
  }

  /** Ends the connection, and with it the call that waits. */
  close(): void {
    this.#closing.abort(new Error('it was closed'));
    this.#drop(this.#client);
  }

  async #answered(
    client: RedisClient,
    signal: AbortSignal,
    send: () => Promise<unknown>,
    waitMs = 0,
  ): Promise<unknown> {
    signal.throwIfAborted();
    try {
      return await within(send(), { signal, timeoutMs: this.#options.deadlineMs + waitMs }, 'answer');
    } catch (error) {
      // One that answered is well, but for a master that has become a replica: there may be another one now.
      if (!(error instanceof ErrorReply) || isReply(error, 'READONLY')) this.#drop(client);
      signal.throwIfAborted();
      const failure = this.#failure(error);
      if (error instanceof ErrorReply) throw new RefusedCall(failure.message, failure.isDenied);
      throw error instanceof NotInTime ? failure : new LostConnection(failure.message);
    }
  }

  #drop(client: RedisClient | undefined): void {
    if (this.#client === client) this.#client = undefined;
    client?.destroy();
  }

  #failure(error: unknown): RedisFailure {
    if (error instanceof RedisFailure) return error;
    const { address } = this.#options;
    return redisFailure(shownAddress(address), error, address.password);
  }
}

function isReply(error: unknown, code: string): boolean {
  return error instanceof ErrorReply && error.message.startsWith(code);
}
