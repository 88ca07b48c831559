import { hash } from 'node:crypto';
import type { ScopeLimits } from './limits.ts';

/** A key that opens one of the gateway's listeners. Only its digest is kept. */
export interface ApiKey {
  /** The caller's name in logs, traces and the console. Keys with the same name belong to one caller. */
  readonly name: string;
  /** The tenant of the caller: the part of the name before its slash; without a slash, the whole name. */
  readonly tenant: string;
  readonly digest: Buffer;
  /** What its caller may use, beside the limits of its tenant. Absent: no more is said. */
  readonly limits?: ScopeLimits | undefined;
  /** When it is no longer accepted, in milliseconds since 1970. Absent: never. */
  readonly expiresMs?: number | undefined;
  /** When it was revoked, in milliseconds since 1970. Absent: it is not. */
  readonly revokedMs?: number | undefined;
}

const part = '[a-z0-9][a-z0-9._-]{0,63}';
const namePattern = new RegExp(`^${part}(?:/${part})?$`);
const partPattern = new RegExp(`^${part}$`);

/** Whether a text is `NAME` or `TENANT/NAME`. */
export function isKeyName(text: string): boolean {
  return namePattern.test(text);
}

/** Whether a text may be the name of a tenant. */
export function isTenantName(text: string): boolean {
  return partPattern.test(text);
}

/**
 * Makes a key of a digest.
 *
 * @param name the key's name; by default one from its digest.
 */
export function apiKey(keyDigest: Buffer, name: string = digestName(keyDigest)): ApiKey {
  const [tenant = name] = name.split('/');
  return { name, tenant, digest: keyDigest };
}

/** The name of a key that was configured without one: the first 8 digits of its SHA-256. */
export function digestName(keyDigest: Buffer): string {
  return keyDigest.toString('hex', 0, 4);
}

/** The SHA-256 of a key. */
export function digest(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}
