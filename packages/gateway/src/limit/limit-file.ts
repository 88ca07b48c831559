import { open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { z } from 'zod';
import type { SavedBudget } from '@spillway/core/limit/memory-limit-store';
import { FileLock } from '@spillway/server/tap/sinks/file-lock';
import { ConfigError } from '../config/config-error.ts';
import type { SavedUsage } from './usage-book.ts';
import { noUsage, type UsageFigures } from './usage-figures.ts';

/** More than 100,000 budgets with the longest names. */
const maxFileBytes = 67_108_864;

/** What a file of limits keeps over a restart. */
export interface KeptLimits {
  readonly budgets: readonly SavedBudget[];
  readonly usage: readonly SavedUsage[];
}

const whole = z.number().int().nonnegative().safe();
const figures = z.object(
  Object.fromEntries(Object.keys(noUsage).map((name) => [name, whole])) as Record<
    keyof UsageFigures,
    typeof whole
  >,
);
const fileSchema = z.object({
  version: z.literal(1),
  budgets: z.array(
    z.object({ key: z.string().max(256), spent: whole, startMs: z.number(), endMs: z.number() }),
  ),
  usage: z.array(
    z.object({ tenant: z.string(), period: z.enum(['day', 'month']), startMs: z.number(), figures }),
  ),
});

/** The file that keeps what is used of limits while the gateway is not running. One gateway at a time has it. */
export class LimitFile {
  readonly #path: string;
  readonly #lock: FileLock;

  private constructor(path: string, lock: FileLock) {
    this.#path = path;
    this.#lock = lock;
  }

  /**
   * Takes a file, and reads what an earlier gateway has kept there; nothing, if it is not there yet.
   *
   * @throws {ConfigError} when another program has it, it cannot be read, or something else stands in it. It is then
   *   left as it is.
   */
  static async open(path: string): Promise<{ readonly file: LimitFile; readonly kept: KeptLimits }> {
    let lock: FileLock | undefined;
    try {
      lock = await FileLock.take(`${path}.lock`, `the file of limits ${path}`);
      return { file: new LimitFile(path, lock), kept: await read(path) };
    } catch (error) {
      lock?.release();
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConfigError(`limitStore: expected to open file:${path}, got: ${reason}`, { cause: error });
    }
  }

  /** Writes all of it, in place of what is there. Whoever reads the file finds the old or the new, and nothing between. */
  async write({ budgets, usage }: KeptLimits): Promise<void> {
    const next = `${this.#path}.next`;
    const file = await open(next, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify({ version: 1, budgets, usage }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, this.#path);
  }

  /** Lets others have the file. */
  async close(): Promise<void> {
    await unlink(`${this.#path}.next`).catch(() => undefined);
    this.#lock.release();
  }
}

async function read(path: string): Promise<KeptLimits> {
  const found = await stat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return { budgets: [], usage: [] };
  if (!found.isFile()) throw new Error('something that is no file.');
  if (found.size > maxFileBytes) throw new Error(`more than ${maxFileBytes / 1_048_576} MiB.`);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch {
    // What stands there may be anything, a secret too: it is not repeated.
    throw new Error('a file that is no JSON. Move it away to begin with nothing used.');
  }
  const result = fileSchema.safeParse(value);
  if (result.success) return result.data;
  const where = result.error.issues[0]?.path.join('.') ?? '';
  throw new Error(
    `a file that no gateway of this version has written (at ${where === '' ? 'its beginning' : where}). ` +
      'Move it away to begin with nothing used.',
  );
}
