import { timingSafeEqual } from 'node:crypto';
import { type ApiKey, digest } from '../config/api-key.ts';

/** The keys that clients may use. */
export class ApiKeys {
  #keys: readonly ApiKey[];

  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys;
  }

  /** Whether clients need a key. */
  get areRequired(): boolean {
    return this.#keys.length > 0;
  }

  /** Accepts these keys instead, from the next request on. */
  replace(keys: readonly ApiKey[]): void {
    this.#keys = keys;
  }

  /**
   * The first of `keys` that is accepted; `undefined`: there is none. So the caller depends on the order of the keys in the
   * request alone, in which `Authorization` is first, and not on what a proxy adds behind it. The time taken does not
   * depend on which key is nearly right.
   */
  accept(keys: readonly string[]): ApiKey | undefined {
    let accepted: ApiKey | undefined;
    for (const given of keys.map(digest)) {
      for (const known of this.#keys) if (timingSafeEqual(known.digest, given)) accepted ??= known;
    }
    return accepted;
  }
}
