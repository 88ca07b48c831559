import { fileURLToPath } from 'node:url';
import { type Command, spawnNode } from '../packages/gateway/test/support/spawn.ts';
import type { AssaultCounts, Target } from './assault.ts';

export type Counts = Readonly<Record<string, AssaultCounts>>;

/** The attackers while they attack. */
export class Attackers {
  readonly #command: Command;

  /** They are as many as they like, but get the core only when nobody else on it wants it. */
  constructor(target: Target, kinds: readonly string[]) {
    const program = fileURLToPath(new URL('attack.ts', import.meta.url));
    this.#command = spawnNode(program, [JSON.stringify(target), ...kinds], { prefix: ['nice', '-n', '19'] });
  }

  /** What they have done so far. */
  get counts(): Counts {
    // The last line may not be whole yet.
    const line = this.#command.stdout().split('\n').at(-2);
    return line === undefined ? {} : (JSON.parse(line) as Counts);
  }

  /**
   * Ends them, and says what they did.
   *
   * @throws if they had ended before: then what was proven is less than it seems.
   */
  async stop(): Promise<Counts> {
    const { process: child } = this.#command;
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    child.kill('SIGTERM');
    // They may be busy, but not for ever.
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await this.#command.exited;
    clearTimeout(timer);
    if (hasEnded) throw new Error(`the attackers had ended: ${this.#command.stderr().slice(-1000)}`);
    return this.counts;
  }
}
