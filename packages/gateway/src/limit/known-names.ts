import { createHmac } from 'node:crypto';
import type { Scope } from './scope.ts';

/**
 * The scopes of end users and conversations, which clients name as they like: a bounded number, of which the least recent
 * is forgotten. Their names are kept as keyed hashes only.
 */
export class KnownNames {
  readonly #scopes = new Map<string, Scope | undefined>();
  readonly #maxNames: number;
  readonly #secret: Uint8Array | string;

  constructor(maxNames: number, secret: Uint8Array | string) {
    this.#maxNames = maxNames;
    this.#secret = secret;
  }

  get size(): number {
    return this.#scopes.size;
  }

  /** The hash that stands for a name of a tenant: 22 characters, however long the name is. */
  hash(tenant: string, kind: 'session' | 'user', name: string): string {
    return createHmac('sha256', this.#secret)
      .update(`${kind}\0${tenant}\0${name}`)
      .digest('base64url')
      .slice(0, 22);
  }

  /** The scope with that id, made by `open` when it is not known. */
  scope(id: string, open: (id: string) => Scope | undefined): Scope | undefined {
    const known = this.#scopes.get(id);
    const scope = known ?? open(id);
    this.#scopes.delete(id);
    this.#scopes.set(id, scope);
    const [oldest] = this.#scopes.keys();
    if (this.#scopes.size > this.#maxNames && oldest !== undefined) this.#scopes.delete(oldest);
    return scope;
  }
}
