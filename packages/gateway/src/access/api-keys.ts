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
   * An accepted key among `keys`, the last if there are several; `undefined`: there is none. The time taken does not
   * depend on which key is nearly right.
   */
  accept(keys: readonly string[]): ApiKey | undefined {
    let accepted: ApiKey | undefined;
    for (const given of keys.map(digest)) {
      for (const known of this.#keys) if (timingSafeEqual(known.digest, given)) accepted = known;
    }
    return accepted;
  }
}
