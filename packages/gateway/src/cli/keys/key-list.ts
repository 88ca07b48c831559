import { limitWords, writeDate } from '../../config/key-line.ts';
import type { StoredKey } from '../../keys/key-store.ts';

/** So many digits of a hash name a key: enough for any file of keys. */
const idDigits = 8;

/** How a key is named for people, and on the command line. */
export function idOf({ digest }: StoredKey): string {
  return `sha256:${digest.toString('hex').slice(0, idDigits)}`;
}

function stateOf({ expiresMs, revokedMs }: StoredKey, nowMs: number): 'active' | 'expired' | 'revoked' {
  if (revokedMs !== undefined) return 'revoked';
  return expiresMs !== undefined && expiresMs <= nowMs ? 'expired' : 'active';
}

/** Keys as a table. */
export function keysAsText(keys: readonly StoredKey[], nowMs: number): string {
  const dateOr = (dateMs: number | undefined): string => (dateMs === undefined ? '-' : writeDate(dateMs));
  const rows = [
    ['NAME', 'ID', 'STATE', 'CREATED', 'EXPIRES', 'LIMITS'],
    ...keys.map((key) => [
      key.name,
      idOf(key),
      stateOf(key, nowMs),
      dateOr(key.createdMs),
      dateOr(key.expiresMs),
      limitWords(key.limits).join(' ') || '-',
    ]),
  ];
  const widths = (rows[0] ?? []).map((_head, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Keys for programs. Dates are in milliseconds since 1970. */
export function keysAsJson(keys: readonly StoredKey[], nowMs: number): string {
  const shown = keys.map((key) => {
    const { createdMs, digest, expiresMs, limits, name, revokedMs } = key;
    const [tenant] = name.split('/');
    return {
      name,
      tenant,
      id: idOf(key),
      sha256: digest.toString('hex'),
      state: stateOf(key, nowMs),
      createdMs: createdMs ?? null,
      expiresMs: expiresMs ?? null,
      revokedMs: revokedMs ?? null,
      limits,
    };
  });
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}
