import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { SpillwayError } from '@spillway/core';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { RedisClient } from '../connection/dial-redis.ts';
import { readRedisUrl, shownAddress } from '../connection/redis-address.ts';
import { RedisFailure } from '../connection/redis-failure.ts';
import { RedisLink, RefusedCall, type ScriptCall } from '../connection/redis-link.ts';
import { replaceScript } from './replace-script.ts';

/** Options of {@link openRedisText}. */
export interface RedisTextOptions {
  /** Where Redis is, as for `openRedisLimits`. */
  readonly url: string;
  /** The password, instead of one in the URL. It is in no error. */
  readonly password?: string | undefined;
  /** What TLS trusts, such as `ca`, and with which certificate it answers. Default: as Node. Only with `rediss`. */
  readonly tls?: ConnectionOptions | undefined;
  /** The key of the text, a hash: 1 to 512 characters. */
  readonly key: string;
  /** How long a connection and an answer may take each, in milliseconds: 10 to 60,000. Default: 1000. */
  readonly deadlineMs?: number;
  /** The largest text, in bytes: 1 to 67,108,864. A larger one is neither read nor kept. Default: 4,194,304. */
  readonly maxBytes?: number;
}

/** A text as it was read. */
export interface KeptText {
  readonly text: Buffer;
  /** Another one with each change; empty: the text was not written by {@link RedisText.replace}. */
  readonly version: string;
}

/**
 * A text on a Redis that several processes change. Its calls reject with `text_failed` when Redis is not there, refuses or
 * has something else at the key, and with the signal's reason. One call at a time: a connection is made when one needs it, and kept.
 */
export interface RedisText {
  /** Where the text is, for people: no user and no password. */
  readonly address: string;
  /** The version of the text, which is one small command; `undefined`: there is no text, or it has none. */
  version(signal: AbortSignal): Promise<string | undefined>;
  /** `undefined`: there is no text. */
  read(signal: AbortSignal): Promise<KeptText | undefined>;
  /**
   * Replaces the text if its version is still that one, which is empty for no text. Resolves with whether it did. A call whose
   * answer was lost is made again until the signal aborts; it is done at most once all the same. Rejects with `text_unknown` if no
   * answer came: then the text may have been replaced, or still be.
   */
  replace(text: string, version: string, signal: AbortSignal): Promise<boolean>;
  close(): void;
}

const retryMs = 100;
const versionBytes = 12;

/**
 * Opens a text. Needs Redis 5 or newer, Valkey, or what speaks their language. `read` and `version` need `HGET`, `HMGET` and
 * `HSTRLEN` alone, and work with a replica, too.
 *
 * @throws {SpillwayError} `invalid_option`.
 * @example
 * ```ts
 * import { openRedisText } from '@spillway/redis';
 *
 * const notes = openRedisText({ url: 'redis://127.0.0.1:6379', key: 'notes' });
 * const signal = AbortSignal.timeout(5000);
 * const kept = await notes.read(signal);
 * const isKept = await notes.replace(`${kept?.text ?? ''}one more line\n`, kept?.version ?? '', signal);
 * if (!isKept) console.log('somebody else was faster');
 * notes.close();
 * ```
 */
export function openRedisText(options: RedisTextOptions): RedisText {
  return new TextOnRedis(options);
}

class TextOnRedis implements RedisText {
  readonly address: string;
  readonly #link: RedisLink;
  readonly #key: string;
  readonly #maxBytes: number;

  constructor({ deadlineMs = 1000, key, maxBytes = 4_194_304, password, tls, url }: RedisTextOptions) {
    const read = readRedisUrl(url);
    if (key === '' || key.length > 512)
      throw invalid(`key: expected 1 to 512 characters, got ${key.length}.`);
    if (!(deadlineMs >= 10 && deadlineMs <= 60_000))
      throw invalid(`deadlineMs: expected 10 to 60,000, got ${deadlineMs}.`);
    expectWhole('maxBytes', maxBytes, 1, 67_108_864);
    const address = password === undefined ? read : { ...read, password };
    this.address = shownAddress(address);
    this.#key = key;
    this.#maxBytes = maxBytes;
    this.#link = new RedisLink({ address, tls, openTimeoutMs: deadlineMs, deadlineMs });
  }

  async version(signal: AbortSignal): Promise<string | undefined> {
    const version = await this.#use(signal, (client) =>
      this.#link.call(client, ['HGET', this.#key, 'version'], signal),
    );
    return typeof version === 'string' ? version : undefined;
  }

  async read(signal: AbortSignal): Promise<KeptText | undefined> {
    const [text, version] = await this.#use(signal, async (client) => {
      // Somebody else may have written a text that does not fit here.
      const length = await this.#link.call(client, ['HSTRLEN', this.#key, 'text'], signal);
      this.#checkLength(Number(length));
      const words = ['HMGET', this.#key, 'text', 'version'];
      return (await this.#link.callForBytes(client, words, signal)) as readonly (Buffer | null)[];
    });
    return text ? { text, version: version?.toString('latin1') ?? '' } : undefined;
  }

  async replace(text: string, version: string, signal: AbortSignal): Promise<boolean> {
    this.#checkLength(Buffer.byteLength(text));
    const next = randomBytes(versionBytes).toString('base64url');
    const call = { script: replaceScript, keys: [this.#key], words: [version, next, text] };
    const tries = { areUnknown: false };
    for (;;) {
      try {
        const reply = await this.#use(signal, (client) => this.#replaceOnce(client, call, tries, signal));
        return String(reply) === '1';
      } catch (error) {
        // What was sent once may be carried out as long as there is no answer, whatever a later try was told.
        if (!tries.areUnknown) throw error;
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        if (signal.aborted)
          throw new SpillwayError(
            'text_unknown',
            `${this.address}: the text was sent and no answer came: whether it was replaced is not known.`,
            { cause: error },
          );
      }
    }
  }

  close(): void {
    this.#link.close();
  }

  async #replaceOnce(
    client: RedisClient,
    call: ScriptCall,
    tries: { areUnknown: boolean },
    signal: AbortSignal,
  ): Promise<unknown> {
    signal.throwIfAborted();
    try {
      return await this.#link.run(client, call, signal);
    } catch (error) {
      if (!(error instanceof RefusedCall)) tries.areUnknown = true;
      throw error;
    }
  }

  async #use<Value>(signal: AbortSignal, work: (client: RedisClient) => Promise<Value>): Promise<Value> {
    try {
      return await this.#link.use(signal, work);
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      throw failed(error.message, error);
    }
  }

  #checkLength(bytes: number): void {
    if (bytes > this.#maxBytes)
      throw failed(`${this.address}: expected a text of at most ${this.#maxBytes} bytes, got ${bytes}`);
  }
}

function failed(message: string, cause?: Error): SpillwayError {
  return new SpillwayError('text_failed', `${message}.`, cause && { cause });
}
