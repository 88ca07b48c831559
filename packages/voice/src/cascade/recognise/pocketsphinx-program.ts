import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Clock, systemClock } from '@spillway/core/clock';
import { z } from 'zod';

/** The longest line that the program may write, in characters. */
const maxLineLength = 262_144;
/** Frames of the program's input have a byte for what they are, and four for their length. */
const headBytes = 5;

const time = z.number().min(0).max(1e9);
const line = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('missing'), what: z.enum(['python3-pocketsphinx', 'pocketsphinx-en-us']) }),
  z.object({ kind: z.literal('refused') }),
  z.object({ kind: z.literal('worked'), bytes: z.int().min(0) }),
  z.object({ kind: z.literal('partial'), text: z.string() }),
  z.object({
    kind: z.literal('final'),
    text: z.string(),
    words: z.array(z.tuple([z.string(), time, time])),
  }),
]);

/** What the program says. */
export type ProgramLine = z.infer<typeof line>;

/** Why it is not there. */
const missingMessage =
  'PocketSphinx is not there: apt-get install pocketsphinx-en-us python3-pocketsphinx (Debian).';

/** How the program is run. */
export interface ProgramOptions {
  readonly python: string;
  readonly model: string;
  /** Called with each line. */
  readonly onLine: (line: ProgramLine) => void;
  /** The program has ended, or said what is not understood. Called once; nothing follows. */
  readonly onEnd: (code: 'bad_message' | 'lost' | 'unreachable', message: string) => void;
  /** It has taken what was written. */
  readonly onDrain: () => void;
  readonly isCheck?: boolean;
}

/** The program that comes with this package, as a process of its own. */
export class PocketsphinxProgram {
  readonly #options: ProgramOptions;
  /** `undefined`: this process may not start another one now. */
  readonly #child: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #line = '';
  #isOver = false;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.#child = this.#start();
    if (this.#child !== undefined) this.#attach(this.#child);
  }

  /** What was written and was not taken, in bytes: its frames with their heads. */
  get heldBytes(): number {
    return this.#isOver ? 0 : (this.#child?.stdin.writableLength ?? 0);
  }

  /** Begins to read. What came before has waited in the pipe. */
  read(): void {
    this.#child?.stdout.setEncoding('utf8').on('data', (text: string) => this.#take(text));
  }

  write(kind: 'A' | 'F' | 'G', body: Uint8Array = new Uint8Array(0)): void {
    if (this.#isOver) return;
    const frame = Buffer.alloc(headBytes + body.byteLength);
    frame.write(kind, 0, 'latin1');
    frame.writeUInt32LE(body.byteLength, 1);
    frame.set(body, headBytes);
    this.#child?.stdin.write(frame);
  }

  /** Ends it at once. Nothing is told. Safe to call twice. */
  kill(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#child?.stdin.destroy();
    this.#child?.stdout.destroy();
    this.#child?.kill('SIGKILL');
  }

  #start(): ChildProcessByStdio<Writable, Readable, null> | undefined {
    const { isCheck, model, python } = this.#options;
    // The folder lies as deep below the source as below what was built from it.
    const program = fileURLToPath(new URL('../../../offline/pocketsphinx-words.py', import.meta.url));
    const failed = (error: NodeJS.ErrnoException): void =>
      this.#end('unreachable', `${missingMessage} Python did not start: ${error.code ?? error.name}.`);
    try {
      const child = spawn(python, ['-I', program, model, ...(isCheck ? ['check'] : [])], {
        // What it complains about could have words of the call in it.
        stdio: ['pipe', 'pipe', 'ignore'],
        // The keys of this process are none of its business.
        env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
      });
      child.on('error', failed);
      // Where no descriptors are left it has no pipes.
      return (child.stdin as Writable | undefined) === undefined ? undefined : child;
    } catch (error) {
      queueMicrotask(() => failed(error as NodeJS.ErrnoException));
      return undefined;
    }
  }

  #attach(child: ChildProcessByStdio<Writable, Readable, null>): void {
    child.stdin.on('drain', () => this.#options.onDrain());
    // How the process ended says more than that its pipes did.
    child.stdin.on('error', () => {});
    child.stdout.on('error', () => {});
    // Comes when all that it has written was read, too.
    child.on('close', (code, signal) => this.#end('lost', `It ended with ${signal ?? `code ${code}`}.`));
  }

  #take(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() ?? '';
    if (this.#line.length > maxLineLength) lines.push(this.#line);
    for (const one of lines) {
      if (this.#isOver) return;
      const read = one.length > maxLineLength ? undefined : readLine(one);
      if (read === undefined) this.#end('bad_message', 'It wrote a line that is not understood.');
      else if (read.kind === 'missing') this.#end('unreachable', missingMessage);
      else this.#options.onLine(read);
    }
  }

  #end(code: 'bad_message' | 'lost' | 'unreachable', message: string): void {
    if (this.#isOver) return;
    this.kill();
    this.#options.onEnd(code, message);
  }
}

function readLine(text: string): ProgramLine | undefined {
  try {
    return line.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Where Debian has them. */
export const debianPython = '/usr/bin/python3';
export const debianModel = '/usr/share/pocketsphinx/model/en-us';
/** How long Python may take to say what is there. */
const checkTimeoutMs = 20_000;

/**
 * Says why `openPocketsphinx` would not work here, with the names of the packages; `undefined`: it would. Runs Python for a moment,
 * and takes 20 s at most.
 *
 * @param options as those of `openPocketsphinx`.
 * @example
 * ```ts
 * const missing = await pocketsphinxMissing();
 * if (missing !== undefined) console.error(missing);
 * ```
 */
export function pocketsphinxMissing(
  options: { readonly python?: string; readonly model?: string; readonly clock?: Pick<Clock, 'after'> } = {},
): Promise<string | undefined> {
  const { clock = systemClock, model = debianModel, python = debianPython } = options;
  return new Promise((resolve) => {
    const end = (missing: string | undefined): void => {
      timer.stop();
      program.kill();
      resolve(missing);
    };
    const program = new PocketsphinxProgram({
      python,
      model,
      isCheck: true,
      onLine: () => end(undefined),
      onEnd: (_code, message) => end(message),
      onDrain: () => {},
    });
    const timer = clock.after(checkTimeoutMs, () => end('PocketSphinx: Python did not answer.'));
    program.read();
  });
}
