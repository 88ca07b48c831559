import { SpillwayError } from '@spillway/core';
import type { RedisText } from '@spillway/redis';
import type { Defects } from '@spillway/server/defects';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import { ConfigError } from '../config/config-error.ts';
import type { KeyStoreSettings } from '../config/read-key-store.ts';
import { keyTextOptions, textOf } from './redis-key-store.ts';

/** How often the version is asked for: a change is in force after so long, and what it takes to read it. */
const everyMs = 2000;

interface WatchedKeysOptions {
  readonly settings: KeyStoreSettings;
  readonly clock: Pick<ServerClock, 'every'>;
  readonly defects: Pick<Defects, 'caught'>;
  readonly log: Pick<Logger, 'error' | 'info'>;
  /** Puts a text of keys in force, or rejects with a `ConfigError` and has changed nothing. */
  readonly use: (text: string) => Promise<void>;
}

/**
 * The keys of a store, looked at every two seconds. What was read last stays in force while the store is away, and while it has
 * keys that cannot be in force, or none: keys are revoked and never removed, so a store that has none any more has lost them.
 */
export class WatchedKeys {
  readonly #options: WatchedKeysOptions;
  readonly #text: RedisText;
  readonly #closing = new AbortController();
  #inForce: string | undefined;
  /** Of the text in force. */
  #version: string | undefined;
  /** What keeps the keys of the store out of force, as it was said; `undefined`: nothing. */
  #trouble: string | undefined;
  #looking: Promise<void> | undefined;
  #changes = 0;
  #refusedChanges = 0;

  private constructor(options: WatchedKeysOptions, text: RedisText) {
    this.#options = options;
    this.#text = text;
  }

  /**
   * Resolves when the store has been looked at for the first time, also if it is away.
   *
   * @throws {ConfigError} for a URL that is none.
   */
  static async open(options: WatchedKeysOptions): Promise<WatchedKeys> {
    const { openRedisText } = await import('@spillway/redis');
    const keys = new WatchedKeys(
      options,
      openText(() => openRedisText(keyTextOptions(options.settings))),
    );
    await keys.#look();
    const timer = options.clock.every(everyMs, () => {
      keys.#looking ??= keys.#look().finally(() => (keys.#looking = undefined));
    });
    keys.#closing.signal.addEventListener('abort', () => timer.stop());
    return keys;
  }

  /** Whether what the store has is in force, as far as is known. */
  get isUp(): boolean {
    return this.#trouble === undefined;
  }

  /** How often other keys came into force. */
  get changes(): number {
    return this.#changes;
  }

  /** How often there were other keys that could not be in force. */
  get refusedChanges(): number {
    return this.#refusedChanges;
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#text.close();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { defects, log } = this.#options;
    const store = this.#text.address;
    let version: string | undefined;
    try {
      version = await this.#text.version(this.#closing.signal);
      if (version === undefined || version !== this.#version) await this.#read();
      if (this.#trouble !== undefined) log.info({ store }, 'the store of keys works again');
      this.#trouble = undefined;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      const isRefused = error instanceof ConfigError;
      // Each text that is refused is said and counted once, and that the store is away once, until it is there again.
      const trouble = isRefused ? `refused ${version ?? ''}` : 'away';
      if (trouble === this.#trouble) return;
      this.#trouble = trouble;
      if (isRefused) this.#refusedChanges += 1;
      if (!(error instanceof SpillwayError)) {
        defects.caught('store of keys', error);
        return;
      }
      const message = isRefused ? 'keys of the store are not in force' : 'the store of keys fails';
      log.error({ store, reason: error.message }, message);
    }
  }

  async #read(): Promise<void> {
    const kept = await this.#text.read(this.#closing.signal);
    if (kept === undefined)
      throw new ConfigError(
        'expected keys, got none: "spillway keys create" makes the first one; if there were some, the store has lost them',
      );
    const text = textOf(this.#text, kept);
    // One that somebody wrote without a version is read each time.
    if (text !== this.#inForce) {
      await this.#options.use(text);
      this.#inForce = text;
      this.#changes += 1;
      this.#options.log.info({ store: this.#text.address }, 'keys of the store are in force');
    }
    this.#version = kept.version;
  }
}

function openText(open: () => RedisText): RedisText {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SpillwayError)) throw error;
    throw new ConfigError(`apiKeysStore: ${error.message}`, { cause: error });
  }
}
