import type { Defects } from '@spillway/server/defects';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import { ApiKeys } from '../access/api-keys.ts';
import type { ApiKey } from '../config/api-key.ts';
import { needsClientKey, type Settings } from '../config/load.ts';
import { joinApiKeys } from '../config/read-api-keys.ts';
import { readLimits } from '../config/read-limits.ts';
import { WatchedKeys } from '../keys/watched-keys.ts';
import type { HeldLimits } from '../limit/held-limits.ts';

/** Puts settings in force. `putKeys` does so with their keys, at once. Must not leave half of them in force if it rejects. */
export type ApplySettings = (settings: Settings, putKeys: () => void) => Promise<void>;

interface WatchOptions {
  readonly clock: Pick<ServerClock, 'every'>;
  readonly defects: Pick<Defects, 'caught'>;
  readonly limits: Pick<HeldLimits, 'prepare'>;
  readonly log: Pick<Logger, 'error' | 'info'>;
}

/**
 * The keys of clients: those of the settings and those of the store. Either may change while the gateway runs, and whoever
 * changes one puts both in force. Changes wait for one another, so that none puts half of another in force.
 */
export class ClientKeys {
  readonly accepted: ApiKeys;
  readonly #own: readonly ApiKey[];
  #settings: Settings;
  /** `undefined`: there is none, or it has not been looked at yet. */
  #store: WatchedKeys | undefined;
  /** The text of its keys; `undefined`: it has not been read yet. */
  #stored: string | undefined;
  #last: Promise<void> = Promise.resolve();

  /** `own`: keys of the gateway itself, for where clients need one. `dateMs`: as for `ApiKeys`. */
  constructor(settings: Settings, own: readonly ApiKey[], dateMs: () => number) {
    this.#settings = settings;
    this.#own = needsClientKey(settings) ? own : [];
    const areAll = (): boolean => this.#store?.isUp === true;
    this.accepted = new ApiKeys([...settings.apiKeys, ...this.#own], dateMs, settings.keyStore && areAll);
  }

  /** Puts other settings in force by `apply`. Rejects with its error, or a `ConfigError` if the store's keys do not fit beside. */
  change(settings: Settings, apply: ApplySettings): Promise<void> {
    return this.#inTurn(async () => {
      await this.#apply(settings, this.#stored, apply);
      this.#settings = settings;
    });
  }

  /** Looks at the store, if there is one, and from then on until it is closed. Resolves after the first look. */
  async watch({ limits, ...options }: WatchOptions): Promise<WatchedKeys | undefined> {
    const { keyStore } = this.#settings;
    if (keyStore === undefined) return undefined;
    const apply: ApplySettings = async (settings, putKeys) => {
      const otherLimits = await limits.prepare(settings.limits);
      putKeys();
      otherLimits.commit();
    };
    const use = (text: string): Promise<void> =>
      this.#inTurn(async () => {
        await this.#apply(this.#settings, text, apply);
        this.#stored = text;
      });
    this.#store = await WatchedKeys.open({ ...options, settings: keyStore, use });
    return this.#store;
  }

  async #apply(settings: Settings, stored: string | undefined, apply: ApplySettings): Promise<void> {
    const joined = stored === undefined ? settings : withStored(settings, stored);
    await apply(joined, () => this.accepted.replace([...joined.apiKeys, ...this.#own]));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

/** Settings with the keys of the store, and their limits. */
function withStored(settings: Settings, text: string): Settings {
  const apiKeys = joinApiKeys(settings.apiKeys, { name: 'apiKeysStore', text });
  return { ...settings, apiKeys, limits: readLimits(settings.config, apiKeys, settings.limitStorePassword) };
}
