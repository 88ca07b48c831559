import { existsSync, statSync } from 'node:fs';
import { AuditReader } from '@spillway/server/audit/audit-reader';
import { type ExitCode, exitCodes } from '../exit-codes.ts';

/** Ends the process with one line on stderr. */
export function fail(code: ExitCode, message: string): never {
  process.stderr.write(`spillway: ${message.replaceAll(/\s*\n\s*/g, ' ')}\n`);
  process.exit(code);
}

/** The path in `--from`. Ends the process where no log can be: it is not created by who reads it. */
export function auditPath(from: string): string {
  const [, path] = /^sqlite:(.+)$/s.exec(from) ?? [];
  if (path === undefined)
    fail(exitCodes.usage, `--from: expected sqlite:<path>, got ${JSON.stringify(from)}`);
  if (!existsSync(path) || !statSync(path).isFile())
    fail(exitCodes.noInput, `${path}: there is no such file`);
  return path;
}

/** Opens a log, or ends the process with the reason why it cannot be read. */
export function orFail<Result>(path: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    const message = messageOf(error);
    return fail(exitCodes.noInput, message.startsWith(path) ? message : `${path}: ${message}`);
  }
}

/** Reads a log. What fails on the way ends the process with one line. */
export async function withReader(from: string, read: (reader: AuditReader) => Promise<void>): Promise<void> {
  const path = auditPath(from);
  const reader = orFail(path, () => new AuditReader(path));
  try {
    await read(reader);
  } catch (error) {
    fail(exitCodes.failed, `${path}: ${messageOf(error)}`);
  }
  reader.close();
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
