import { timingSafeEqual } from 'node:crypto';
import { type ApiKey, digest } from '../config/api-key.ts';

/** The keys that clients may use. */
export class ApiKeys {
  readonly #keys: readonly ApiKey[];

  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys;
  }

  /** Whether clients need a key at all. */
  get areRequired(): boolean {
    return this.#keys.length > 0;
  }

  /** The key, of those that came, that may be used; in a time that does not depend on which is nearly right. */
  accept(keys: readonly string[]): ApiKey | undefined {
    let accepted: ApiKey | undefined;
    for (const given of keys.map(digest)) {
      for (const known of this.#keys) if (timingSafeEqual(known.digest, given)) accepted = known;
    }
    return accepted;
  }
}
