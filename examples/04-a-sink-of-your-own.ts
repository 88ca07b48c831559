/**
 * A sink for an engine of your own, with the proof that it keeps the rules of sinks. The engine is a folder with a file
 * for each record.
 *
 *     node examples/04-a-sink-of-your-own.ts
 */
import { mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { sinkRules } from '@spillway/core/testing';

function openFolderSink(folder: string): RecordSink {
  let isClosed = false;
  let writing: Promise<unknown> = Promise.resolve();

  /** A record that is written again replaces itself: its name is its id. */
  async function keep({ stream, seq, value }: SinkRecord): Promise<void> {
    const path = join(folder, `${stream}.${seq}`);
    await writeFile(`${path}.new`, value, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  }

  async function keepAll(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    for (const record of records) {
      signal.throwIfAborted();
      await keep(record);
    }
    // The names are durable when the folder is.
    const names = await open(folder);
    try {
      await names.sync();
    } finally {
      await names.close();
    }
  }

  return {
    durability: 'fsync',
    async write(records, signal) {
      if (isClosed)
        throw new SpillwayError('sink_closed', 'This folder was closed: expected no more records.');
      signal.throwIfAborted();
      // One that was aborted may still be at its last record.
      const written = writing.then(() => keepAll(records, signal));
      writing = written.catch(() => undefined);
      const aborted = Promise.withResolvers<never>();
      const abort = (): void => aborted.reject(signal.reason);
      signal.addEventListener('abort', abort);
      await Promise.race([written, aborted.promise]).finally(() =>
        signal.removeEventListener('abort', abort),
      );
    },
    async close() {
      isClosed = true;
      await writing;
    },
  };
}

async function recordsIn(folder: string): Promise<SinkRecord[]> {
  const names = (await readdir(folder)).filter((name) => !name.endsWith('.new'));
  const records = names.map(async (name): Promise<SinkRecord> => {
    const [stream = '', seq] = name.split('.');
    return { stream, seq: Number(seq), value: await readFile(join(folder, name)) };
  });
  return (await Promise.all(records)).toSorted((one, other) => one.seq - other.seq);
}

// What is proved here in a loop is a test of its own for each rule in a project of yours.
const rules = sinkRules(
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'spillway-records-'));
    let sink: RecordSink | undefined;
    return {
      async open() {
        await sink?.close();
        return (sink = openFolderSink(folder));
      },
      records: () => recordsIn(folder),
      remove: () => rm(folder, { recursive: true }),
    };
    // Each record is forced to the disk, which others may use, too.
  },
  { deadlineMs: 60_000 },
);
for (const { number, name, check } of rules) {
  let outcome = 'kept';
  await check({ skip: (reason) => (outcome = `skipped: ${reason}`) });
  console.log(`rule ${number}: ${name}: ${outcome}`);
}
