import { type ApiKey, digest } from '../config/api-key.ts';

/** The keys that clients may use. */
export class ApiKeys {
  readonly #dateMs: () => number;
  readonly #areAll: (() => boolean) | undefined;
  /** By their digests, as text. */
  #keys: ReadonlyMap<string, ApiKey>;

  /**
   * `dateMs`: the time, in milliseconds since 1970. Keys expire by it. `areAll`, where there is a store of keys beside: whether
   * these are all, or more may be in the store.
   */
  constructor(keys: readonly ApiKey[], dateMs: () => number, areAll?: () => boolean) {
    this.#dateMs = dateMs;
    this.#areAll = areAll;
    this.#keys = byDigest(keys);
  }

  /**
   * Whether clients need a key. Keys that are expired or revoked count, and so does a store without any: otherwise everybody
   * would be let in.
   */
  get areRequired(): boolean {
    return this.#areAll !== undefined || this.#keys.size > 0;
  }

  /** Whether a key that is not known here is none. Otherwise it may be in a store that cannot be read now. */
  get areAll(): boolean {
    return this.#areAll?.() ?? true;
  }

  /** Accepts these keys instead, from the next request on. */
  replace(keys: readonly ApiKey[]): void {
    this.#keys = byDigest(keys);
  }

  /**
   * The first of `keys` that is accepted; `undefined`: there is none. So the caller depends on the order of the keys in the
   * request alone, in which `Authorization` is first, and not on what a proxy adds behind it. The time taken may tell how
   * the digest of a key begins that is nearly right, which says nothing of that key.
   */
  accept(keys: readonly string[]): ApiKey | undefined {
    return this.#find(keys, (key) => this.#endedMs(key) === undefined);
  }

  /** The first of `keys` that is known, expired or revoked, and when it was. Only its owner has it. */
  ended(keys: readonly string[]): { readonly key: ApiKey; readonly endedMs: number } | undefined {
    const key = this.#find(keys, (known) => this.#endedMs(known) !== undefined);
    const endedMs = key && this.#endedMs(key);
    return key === undefined || endedMs === undefined ? undefined : { key, endedMs };
  }

  #find(keys: readonly string[], isMeant: (key: ApiKey) => boolean): ApiKey | undefined {
    for (const given of keys) {
      const key = this.#keys.get(textOf(digest(given)));
      if (key !== undefined && isMeant(key)) return key;
    }
    return undefined;
  }

  /** When a key has ended; `undefined`: it has not. Whoever writes that a key is revoked means it at once. */
  #endedMs({ expiresMs, revokedMs }: ApiKey): number | undefined {
    if (revokedMs !== undefined) return revokedMs;
    return expiresMs !== undefined && expiresMs <= this.#dateMs() ? expiresMs : undefined;
  }
}

function byDigest(keys: readonly ApiKey[]): ReadonlyMap<string, ApiKey> {
  return new Map(keys.map((key) => [textOf(key.digest), key]));
}

/** A digest as a short text. */
function textOf(keyDigest: Buffer): string {
  return keyDigest.toString('latin1');
}
