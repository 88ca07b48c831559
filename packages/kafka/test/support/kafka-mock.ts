import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import { stopProcess } from '../../../core/test/support/stop-process.ts';

/** Skips a test where this machine cannot build the mock; where `LACKS_FAIL` is set, that is a failure. */
export function needsKafka(context: Pick<TestContext, 'skip'>): void {
  needs(context, hasKafka, 'cc and librdkafka-dev');
}

/** Whether this machine has librdkafka, whose mock brokers stand for Kafka here, and a compiler. */
export const hasKafka =
  spawnSync('cc', ['-x', 'c', '-fsyntax-only', '-'], { input: '#include <librdkafka/rdkafka.h>\n' })
    .status === 0;

/** What librdkafka has read. */
export interface ReadEntry {
  readonly partition: number;
  readonly offset: number;
  readonly key: string;
  readonly value: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** A cluster of librdkafka's mock brokers, in a process of its own, on free ports of loopback. */
export class KafkaMock {
  /** `HOST:PORT` of each broker. */
  readonly brokers: readonly string[];
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #folder: string;
  readonly #lines: AsyncIterator<string>;
  #topics = 0;
  /** Answers come in the order of their commands. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    process: ChildProcessWithoutNullStreams,
    folder: string,
    brokers: readonly string[],
    lines: AsyncIterator<string>,
  ) {
    this.#process = process;
    this.#folder = folder;
    this.brokers = brokers;
    this.#lines = lines;
  }

  static async start(brokerCount = 3): Promise<KafkaMock> {
    const folder = mkdtempSync(join(tmpdir(), 'spillway-kafka-'));
    const program = join(folder, 'kafka-mock');
    const source = join(import.meta.dirname, 'kafka-mock.c');
    const built = spawnSync('cc', ['-O1', '-o', program, source, '-lrdkafka'], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(built.stderr);
    const running = spawn(program, [String(brokerCount)]);
    const lines = createInterface({ input: running.stdout })[Symbol.asyncIterator]();
    const first: IteratorResult<string> = await lines.next();
    return new KafkaMock(running, folder, String(first.value).split(','), lines);
  }

  /** Makes a topic that no other check has, and resolves with its name. */
  async makeTopic(partitions: number): Promise<string> {
    this.#topics += 1;
    const name = `llm-${this.#topics}`;
    await this.command(`topic ${name} ${partitions} 3`);
    return name;
  }

  /** Runs a command of the mock's, and resolves with the lines before the last one of its answer. */
  async command(text: string): Promise<string[]> {
    const earlier = this.#turn;
    const answer = (async () => {
      await earlier;
      return this.#ask(text);
    })();
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #ask(text: string): Promise<string[]> {
    this.#process.stdin.write(`${text}\n`);
    const came: string[] = [];
    for (;;) {
      const line: IteratorResult<string> = await this.#lines.next();
      if (line.done === true) throw new Error(`${text}: the mock has ended`);
      if (line.value === '0') return came;
      if (/^-?\d+$/.test(line.value)) throw new Error(`${text}: error ${line.value}`);
      came.push(line.value);
    }
  }

  /** What a topic has got since the last call, as librdkafka reads it, with its checksums. */
  async read(topic: string, partitions: number): Promise<ReadEntry[]> {
    const lines = await this.command(`read ${topic} ${partitions}`);
    return lines.map((line) => {
      const [partition, offset, key = '', value = '', ...headers] = line.split(' ');
      return {
        partition: Number(partition),
        offset: Number(offset),
        key: Buffer.from(key, 'hex').toString(),
        value: Buffer.from(value, 'hex'),
        headers: Object.fromEntries(headers.map((text) => text.split('=')) as [string, string][]),
      };
    });
  }

  /** From then on it takes connections and bytes, and answers nothing. */
  stop(): void {
    if (this.#process.pid !== undefined) stopProcess(this.#process.pid);
  }

  continue(): void {
    this.#process.kill('SIGCONT');
  }

  async end(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const exited = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await exited;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
