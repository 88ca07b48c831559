import { settledWithin } from './settled-within.ts';
import { type SkippableTest, withoutContext } from './skippable-test.ts';

/** What every engine of a test can do, or cannot. */
interface ProvedEngine {
  fail?(): Promise<void> | void;
  hang?(): Promise<void> | void;
  heal?(): Promise<void> | void;
  openCount?(): Promise<number> | number;
  remove?(): Promise<void> | void;
}

/** How a check is made: the seed of what is random, and how long a call may take. */
export interface ProofOptions {
  readonly seed: number;
  readonly deadlineMs: number;
}

/** One check of rules: its engine, and what it has opened there. */
export class EngineProof<Engine extends ProvedEngine> {
  readonly engine: Engine;
  readonly #options: ProofOptions;
  readonly #opened: { close(): Promise<void> }[] = [];

  constructor(engine: Engine, options: ProofOptions) {
    this.engine = engine;
    this.#options = options;
  }

  get canFail(): boolean {
    return this.engine.fail !== undefined && this.engine.heal !== undefined;
  }

  async fail(): Promise<void> {
    await this.engine.fail?.();
  }

  async hang(): Promise<void> {
    await this.engine.hang?.();
  }

  async heal(): Promise<void> {
    await this.engine.heal?.();
  }

  /** Closes all that was opened, and removes the engine. */
  async end(): Promise<void> {
    try {
      await this.heal();
      for (const one of this.#opened) await this.settled('close', one.close()).catch(() => undefined);
    } finally {
      await this.engine.remove?.();
    }
  }

  /** Resolves or rejects as the promise does. Rejects if it takes longer than the deadline. */
  settled<Value>(what: string, promise: Promise<Value>): Promise<Value> {
    return settledWithin(this.#options.deadlineMs, promise, (wait) =>
      this.error(`${what}: expected it to settle within ${wait}, got one that waits`),
    );
  }

  async expectNothingOpen(): Promise<void> {
    const count = await this.engine.openCount?.();
    if (count !== 0) throw this.error(`open files, connections and threads: expected 0, got ${count}`);
  }

  error(message: string): Error {
    return new Error(`${message} (seed ${this.#options.seed})`);
  }

  /** What `end` closes. */
  protected opened<One extends { close(): Promise<void> }>(one: One): One {
    this.#opened.push(one);
    return one;
  }
}

/**
 * A check of one rule, with an engine of its own.
 *
 * @param lack says what the engine lacks for the rule; `undefined`: nothing.
 */
export function checkOf<Engine extends ProvedEngine, Proof extends EngineProof<Engine>>(
  openEngine: () => Promise<Engine> | Engine,
  proofOf: (engine: Engine) => Proof,
  lack: (engine: Engine) => string | undefined,
  prove: (proof: Proof) => Promise<void>,
): (context?: SkippableTest) => Promise<void> {
  // With a default, because Jest hands a callback to functions of one parameter.
  return async (context = withoutContext) => {
    const engine = await openEngine();
    const proof = proofOf(engine);
    try {
      const lacking = lack(engine);
      if (lacking === undefined) await prove(proof);
      else context.skip(`the engine of this test ${lacking}`);
    } finally {
      await proof.end();
    }
  };
}
