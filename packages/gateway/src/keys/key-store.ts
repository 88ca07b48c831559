import type { KeyLine } from '../config/key-line.ts';

/** A key of a client as it is kept: its digest, never the key itself. */
export type StoredKey = KeyLine;

/** Where the keys of clients are kept: what `spillway keys` changes. */
export interface KeyStore {
  /** All keys, also those that are expired or revoked, in the order in which they were added. */
  list(): Promise<readonly StoredKey[]>;
  /**
   * Changes keys in one step. `change` gets all keys, and returns those that are to be there: one of a digest that is there
   * replaces that one, another is added. It may be called again if somebody else was faster, so it changes nothing itself.
   * Of several processes at once, no change is lost. If it throws, nothing is changed, and this rejects with its error.
   */
  update(change: (keys: readonly StoredKey[]) => readonly StoredKey[]): Promise<void>;
}
