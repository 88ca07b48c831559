import { hash } from 'node:crypto';

/** A key that opens one of the gateway's listeners. The key itself is not kept, its digest is. */
export interface ApiKey {
  /** What logs, traces and the console call whoever brings the key. Keys of one name are one caller's. */
  readonly name: string;
  /** Who the caller belongs to: the part of the name in front of its slash; without one, the whole name. */
  readonly tenant: string;
  readonly digest: Buffer;
}

const part = '[a-z0-9][a-z0-9._-]{0,63}';
const namePattern = new RegExp(`^${part}(?:/${part})?$`);

/** Whether a text is `NAME` or `TENANT/NAME`. */
export function isKeyName(text: string): boolean {
  return namePattern.test(text);
}

/** @param name `undefined`: the key has none, and gets one from its digest. */
export function apiKey(keyDigest: Buffer, name: string = digestName(keyDigest)): ApiKey {
  const [tenant = name] = name.split('/');
  return { name, tenant, digest: keyDigest };
}

/** What a key without a name is called: the first 8 digits of its SHA-256. */
export function digestName(keyDigest: Buffer): string {
  return keyDigest.toString('hex', 0, 4);
}

/** The SHA-256 of a key. */
export function digest(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}
