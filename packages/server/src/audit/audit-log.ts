import { hostname } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { orAborted } from '@spillway/core/or-aborted';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { nodeClock } from '../time/node-clock.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { packBatch } from './audit-batch.ts';
import type { AuditHead } from './audit-chain.ts';
import type { AuditAnswer, AuditRequest, AuditWorkerData } from './audit-worker.ts';
import type { RetentionOptions } from './retention.ts';

/** How an audit log is written. */
export interface AuditLogOptions {
  /** Name of whoever writes, in the log's chains. Default: the name of the machine. */
  readonly node?: string;
  /** What is removed again, and when. Default: nothing. */
  readonly retain?: RetentionOptions;
  /** Time for the bound of a thread that hangs. Default: Node's. */
  readonly clock?: Pick<ServerClock, 'after' | 'nowMs'>;
}

/**
 * A log of records in one file of SQLite, each stream encrypted with a key of its own, all records in a chain of hashes.
 * A write is one transaction, on the disk when it resolves.
 */
export interface AuditLog extends RecordSink {
  readonly durability: 'fsync';
  /** Where the chain is, of what is on the disk. Kept elsewhere, it proves later that nothing was cut off or rewritten. */
  readonly head: AuditHead;
}

/** An answer of the thread is not waited for longer than this when the next write comes: then it hangs. */
const hangMs = 10_000;

/** From source it is the source, and from the build the build. */
const isSource = import.meta.url.endsWith('.ts');
const program = new URL(isSource ? './audit-worker.ts' : './audit-worker.js', import.meta.url);
// Older versions of Node warn of their SQLite, on the standard error that a program's log is on.
const execArgv = [
  '--disable-warning=ExperimentalWarning',
  ...(isSource ? ['--conditions=spillway-source'] : []),
];

/**
 * Opens an audit log, and creates it for its owner alone (mode 0600), with `-wal` and `-shm` beside it. SQLite works in a
 * thread of its own. Several processes may write to one log, each its own chain.
 *
 * A write rejects with `sink_failed` when the transaction failed or the thread died; the next write opens the log anew.
 * When its signal is aborted it rejects at once, while the thread goes on: the next write waits for that. A thread that
 * has not answered for 10 s by then is given up.
 *
 * @example
 * ```ts
 * const log = await openAuditLog('audit.db', { retain: { maxAgeMs: 90 * 24 * 3_600_000 } });
 * await log.write([{ stream, seq: 0, value }], AbortSignal.timeout(5000));
 * await log.close();
 * ```
 *
 * @throws {SpillwayError} `invalid_option` for a wrong option, or a file that is something else; `sink_failed` if the
 * file cannot be opened or written.
 */
export async function openAuditLog(path: string, options: AuditLogOptions = {}): Promise<AuditLog> {
  const { clock = nodeClock, node = hostname(), retain = {} } = options;
  // SQLite has names that are no files.
  if (path === '' || path === ':memory:' || path.startsWith('file:'))
    throw failed(`path: expected the name of a file, got ${JSON.stringify(path)}`, 'invalid_option');
  for (const [name, value] of Object.entries(retain))
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
      throw failed(`retain.${name}: expected a whole number above 0, got ${String(value)}`, 'invalid_option');
  const log = new ThreadedLog({ path, node, retain }, clock);
  try {
    await log.open();
    return log;
  } catch (error) {
    await log.close();
    throw error;
  }
}

/** One request to a thread, until it is answered. */
interface Call {
  readonly sentMs: number;
  readonly answered: Promise<AuditHead | undefined>;
  readonly settle: (answer: AuditAnswer) => void;
}

class ThreadedLog implements AuditLog {
  readonly durability = 'fsync';
  readonly #data: AuditWorkerData;
  readonly #clock: Pick<ServerClock, 'after' | 'nowMs'>;
  #worker: Worker | undefined;
  /** Answered in this order. One write and a close at most. */
  #calls: Call[] = [];
  /** A thread that was given up, and has not ended yet. */
  #ending: Worker | undefined;
  #head: AuditHead = { writer: 0, count: 0, hash: '' };
  #closed: Promise<void> | undefined;
  #isOpen = false;

  constructor(data: AuditWorkerData, clock: Pick<ServerClock, 'after' | 'nowMs'>) {
    this.#data = data;
    this.#clock = clock;
  }

  get head(): AuditHead {
    return this.#head;
  }

  /** Begins the chain, which shows that the log can be written. */
  async open(): Promise<void> {
    await this.#write([]);
    this.#isOpen = true;
  }

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (this.#closed !== undefined) throw new SpillwayError('sink_closed', 'The audit log is closed.');
    signal.throwIfAborted();
    if (records.length === 0) return;
    expectRecords(records);
    // Of a write that was aborted, before this one.
    const [before] = this.#calls;
    if (before !== undefined) {
      if (this.#clock.nowMs() - before.sentMs >= hangMs) this.#giveUp();
      else
        await orAborted(
          before.answered.catch(() => undefined),
          signal,
        );
    }
    await orAborted(this.#write(records), signal);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    const isOver = Promise.withResolvers<void>();
    const timer = this.#clock.after(hangMs, isOver.resolve);
    const end = this.#call({ kind: 'close' }, []).then((head) => (this.#head = head ?? this.#head));
    await Promise.race([end.catch(() => undefined), isOver.promise]);
    await Promise.race([worker.terminate(), isOver.promise]);
    timer.stop();
  }

  async #write(records: readonly SinkRecord[]): Promise<void> {
    const batch = packBatch(records);
    const head = await this.#call({ kind: 'write', batch }, [batch.bytes]);
    if (head !== undefined) this.#head = head;
  }

  #call(request: AuditRequest, handOver: ArrayBuffer[]): Promise<AuditHead | undefined> {
    if (this.#ending !== undefined)
      return Promise.reject(failed('The thread of the audit log hangs: the disk does not answer.'));
    const worker = (this.#worker ??= this.#start());
    const { promise, reject, resolve } = Promise.withResolvers<AuditHead | undefined>();
    const settle = (answer: AuditAnswer): void => {
      if (answer.kind === 'done') resolve(answer.head);
      else
        // Once it was open nothing is wrong with what is written: a sink that says so would be given no record again.
        reject(failed(`The audit log failed: ${answer.message}`, this.#isOpen ? 'sink_failed' : answer.code));
    };
    this.#calls.push({ sentMs: this.#clock.nowMs(), answered: promise, settle });
    worker.postMessage(request, handOver);
    return promise;
  }

  #start(): Worker {
    const worker = new Worker(program, { workerData: this.#data, execArgv, name: 'audit-log' });
    worker.on('message', (answer: AuditAnswer) => {
      if (worker === this.#worker) this.#calls.shift()?.settle(answer);
    });
    // Its end follows.
    worker.on('error', (error) => this.#lose(worker, error instanceof Error ? error.message : String(error)));
    worker.on('exit', () => {
      if (worker === this.#ending) this.#ending = undefined;
      this.#lose(worker, 'its thread has ended');
    });
    return worker;
  }

  /** Rejects what a thread has not answered. The next write starts another one. */
  #lose(worker: Worker, message: string): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    for (const { settle } of this.#calls.splice(0)) settle({ kind: 'failed', message, code: 'sink_failed' });
  }

  /** At most one thread hangs: the next one is not started before it has ended. */
  #giveUp(): void {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#ending = worker;
    this.#lose(worker, 'its thread hangs');
    void worker.terminate();
  }
}

function failed(message: string, code = 'sink_failed'): SpillwayError {
  const known: ErrorCode = code === 'invalid_option' ? code : 'sink_failed';
  return new SpillwayError(known, message);
}
