import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TappedEngineKind } from '../packages/gateway/test/support/tapped-engine.ts';

const program = fileURLToPath(new URL('load/engine-host.ts', import.meta.url));

/** An engine of taps, in a process of its own on the core on which this one is. */
export class HostedEngine {
  readonly url: string;
  readonly #process: ChildProcess;

  private constructor(host: ChildProcess, url: string) {
    this.#process = host;
    this.url = url;
  }

  static async start({ name }: TappedEngineKind): Promise<HostedEngine> {
    const host = fork(program, [name], { execArgv: ['--conditions=spillway-source'] });
    return new HostedEngine(host, await answerOf(host));
  }

  /** From then on it is away. */
  async fail(): Promise<void> {
    await this.#tell('fail');
  }

  /** It is back, with all that it had. */
  async heal(): Promise<void> {
    await this.#tell('heal');
  }

  async remove(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    await exited;
  }

  async #tell(what: string): Promise<void> {
    const answered = answerOf(this.#process);
    this.#process.send(what);
    await answered;
  }
}

async function answerOf(host: ChildProcess): Promise<string> {
  const exited = once(host, 'exit').then(() => {
    throw new Error('the engine has exited');
  });
  const [answer] = (await Promise.race([once(host, 'message'), exited])) as unknown[];
  return String(answer);
}
