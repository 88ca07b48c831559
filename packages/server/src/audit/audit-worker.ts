import { parentPort, workerData } from 'node:worker_threads';
import { nodeClock } from '../time/node-clock.ts';
import { type AuditBatch, unpackBatch } from './audit-batch.ts';
import type { AuditHead } from './audit-chain.ts';
import { AuditWriter } from './audit-writer.ts';
import { Retention, type RetentionOptions } from './retention.ts';

/** What the thread is started with. */
export interface AuditWorkerData {
  readonly path: string;
  readonly node: string;
  readonly retain: RetentionOptions;
}

/** What the thread is asked for. The answers come in the same order. */
export type AuditRequest =
  | { readonly kind: 'close' }
  | { readonly kind: 'write'; readonly batch: AuditBatch };

/** What it answers. */
export type AuditAnswer =
  | { readonly kind: 'done'; readonly head: AuditHead | undefined }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string };

// A thread can be handed no clock: it has Node's.
const { node, path, retain } = workerData as AuditWorkerData;
const writer = new AuditWriter(path, node, nodeClock);
const retention = new Retention(writer, retain, nodeClock);
/** How often it is looked whether the log has its name still, when nothing is written. */
const watchEveryMs = 1000;
const watching = nodeClock.every(watchEveryMs, () => writer.watch());

parentPort?.on('message', (request: AuditRequest) => {
  const result = answer(request);
  parentPort?.postMessage(result, []);
  if (request.kind === 'close') {
    watching.stop();
    parentPort?.close();
  }
  // Whoever waits for the write has its answer already.
  else if (result.kind === 'done') retention.run(request.batch.seqs.length);
});

function answer(request: AuditRequest): AuditAnswer {
  try {
    if (request.kind === 'write') return { kind: 'done', head: writer.write(unpackBatch(request.batch)) };
    return { kind: 'done', head: writer.close() };
  } catch (error) {
    const { code = 'sink_failed', message } = error as { code?: string; message: string };
    return { kind: 'failed', message, code };
  }
}
