import { createHash, timingSafeEqual } from 'node:crypto';

/** The keys that clients may use. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  /** Whether clients need a key at all. */
  get areRequired(): boolean {
    return this.#digests.length > 0;
  }

  /** Whether one of the keys that came may be used, in a time that does not depend on which is nearly right. */
  accept(keys: readonly string[]): boolean {
    let isAccepted = false;
    for (const given of keys.map(digest)) {
      for (const known of this.#digests) isAccepted = timingSafeEqual(known, given) || isAccepted;
    }
    return isAccepted;
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
