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

  /** Checks an `Authorization` header in a time that does not depend on which key is nearly right. */
  accepts(authorization: string | undefined): boolean {
    const key = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (key === undefined) return false;
    const given = digest(key);
    let isAccepted = false;
    for (const known of this.#digests) isAccepted = timingSafeEqual(known, given) || isAccepted;
    return isAccepted;
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
