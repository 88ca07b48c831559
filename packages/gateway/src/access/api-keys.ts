import { hash, timingSafeEqual } from 'node:crypto';

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

  /**
   * The digest of the key, of those that came, that may be used; in a time that does not depend on which is
   * nearly right.
   */
  accept(keys: readonly string[]): string | undefined {
    let accepted: string | undefined;
    for (const given of keys.map(digest)) {
      for (const known of this.#digests) if (timingSafeEqual(known, given)) accepted = known.toString('hex');
    }
    return accepted;
  }
}

export function digest(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}
