import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { postgresUrls } from './postgres-address.ts';

/** TLS with options, or none. */
export type TlsChoice = ConnectionOptions | false;

const modes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];

/**
 * With and without TLS, in the order in which libpq tries: `sslmode` and its files mean what they mean there, and default to
 * `PGSSLMODE` and the others. Two differences, both for the stricter: `verify-full` without `sslrootcert` trusts what Node
 * trusts, and a key is read from where it is said to be and nowhere else.
 *
 * The files are read anew each time, because certificates are renewed.
 *
 * @throws {SpillwayError} `invalid_option` for an unknown mode, or a file that cannot be read.
 */
export async function tlsChoices(parameters: ReadonlyMap<string, string>): Promise<readonly TlsChoice[]> {
  const valueOf = (name: string): string | undefined =>
    parameters.get(name) || process.env[`PG${name.toUpperCase()}`] || undefined;
  const mode = valueOf('sslmode') ?? 'prefer';
  if (!modes.includes(mode))
    throw postgresUrls.invalid(`expected sslmode to be one of ${modes.join(', ')}, got ${mode}`);
  if (mode === 'disable') return [false];
  const root = valueOf('sslrootcert');
  const [ca, cert, key] = await Promise.all([
    root === 'system' ? undefined : root === undefined ? ownRoots() : contentOf('sslrootcert', root),
    contentOf('sslcert', valueOf('sslcert')),
    contentOf('sslkey', valueOf('sslkey')),
  ]);
  const isVerified =
    mode.startsWith('verify') || root === 'system' || (mode === 'require' && ca !== undefined);
  const namesCount = mode === 'verify-full' || root === 'system';
  const tls: ConnectionOptions = {
    rejectUnauthorized: isVerified,
    ...(namesCount ? {} : { checkServerIdentity: () => undefined }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  if (mode === 'allow') return [false, tls];
  return mode === 'prefer' ? [tls, false] : [tls];
}

/** As libpq: where the user has a file of roots, they count. */
async function ownRoots(): Promise<string | undefined> {
  return readFile(join(homedir(), '.postgresql/root.crt'), 'utf8').catch(() => undefined);
}

async function contentOf(name: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw postgresUrls.invalid(`expected ${name} to be a file that can be read, got ${path} (${error.code})`);
  });
}
