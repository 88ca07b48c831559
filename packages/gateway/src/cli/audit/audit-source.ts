import { existsSync, statSync } from 'node:fs';
import { AuditReader } from '@spillway/server/audit/audit-reader';
import { kindOf } from '@spillway/server/audit/expect-file';
import { inWords } from '@spillway/server/audit/sqlite-words';
import { readConfigFile, joinSources } from '../../config/sources.ts';
import { taps } from '../../config/tap.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';

/** Ends the process with one line on stderr. */
export function fail(code: ExitCode, message: string): never {
  process.stderr.write(`spillway: ${message.replaceAll(/\s*\n\s*/g, ' ')}\n`);
  process.exit(code);
}

/** The path in `--from`. Ends the process where no log can be: it is not created by who reads it. */
export function auditPath(from = configuredLog()): string {
  const [, path] = /^sqlite:(.+)$/s.exec(from) ?? [];
  if (path === undefined)
    fail(exitCodes.usage, `--from: expected sqlite:<path>, got ${JSON.stringify(from)}`);
  const found = existsSync(path) ? statSync(path) : undefined;
  if (found === undefined) fail(exitCodes.noInput, `${path}: there is no such file`);
  if (!found.isFile()) fail(exitCodes.noInput, `${path}: expected an audit log, got ${kindOf(found)}`);
  return path;
}

/** The log of the only such tap of the configuration. Only taps are looked at: all else may need what is not here. */
function configuredLog(): string {
  const { values } = joinSources({ env: process.env, file: readConfigFile(undefined), flags: {} });
  const read = taps.safeParse(values['tap'] ?? []);
  const [log, ...others] = (read.data ?? []).filter(({ to }) => to.startsWith('sqlite:'));
  if (log !== undefined && others.length === 0) return log.to;
  const names = [log, ...others].map((tap) => tap?.name).join(', ');
  const came = log === undefined ? 'no such tap' : `${others.length + 1} such taps: ${names}`;
  return fail(
    exitCodes.usage,
    `--from: expected sqlite:<path>, or one tap to sqlite: in spillway.yaml, got ${came}`,
  );
}

/** Opens a log, or ends the process with the reason why it cannot be read. */
export function orFail<Result>(path: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    return fail(exitCodes.noInput, reasonOf(error, path));
  }
}

/** Reads a log. What fails on the way ends the process with one line. */
export async function withReader(
  from: string | undefined,
  read: (reader: AuditReader) => Promise<void>,
): Promise<void> {
  const path = auditPath(from);
  const reader = orFail(path, () => new AuditReader(path));
  try {
    await read(reader);
  } catch (error) {
    fail(exitCodes.failed, reasonOf(error, path));
  }
  reader.close();
}

/** What went wrong with a log, with its name. */
export function reasonOf(cause: unknown, path: string): string {
  const error = inWords(cause, path);
  const message = error instanceof Error ? error.message : String(error);
  return message.startsWith(path) ? message : `${path}: ${message}`;
}
