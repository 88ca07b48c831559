import { hostname } from 'node:os';
import { headAsText } from '@spillway/server/audit/audit-chain';
import { checkpoint } from '@spillway/server/audit/audit-database';
import { type AuditFilter, AuditReader } from '@spillway/server/audit/audit-reader';
import { AuditWriter } from '@spillway/server/audit/audit-writer';
import { erase, type EraseTarget } from '@spillway/server/audit/erase';
import { prune, type PruneLimits } from '@spillway/server/audit/prune';
import { nodeClock } from '@spillway/server/time/node-clock';
import { readQuantity } from '../../config/units.ts';
import { exitCodes } from '../exit-codes.ts';
import { auditPath, fail, orFail, reasonOf } from './audit-source.ts';
import { Lines } from './lines.ts';
import { readDuration } from './time-option.ts';

/** Records that are pruned in one transaction. */
const recordsAtOnce = 5000;

/** What `audit erase` takes. */
export interface EraseOptions {
  readonly from?: string;
  readonly stream?: string;
  readonly tenant?: string;
  readonly caller?: string;
  readonly yes?: true;
}

/** Erases a stream or a person, and prints how much that was and where the chain is that says so. */
export async function eraseCommand({ caller, from, stream, tenant, yes }: EraseOptions): Promise<void> {
  const isOne = stream !== undefined && tenant === undefined && caller === undefined;
  if (!isOne && (stream !== undefined || tenant === undefined))
    fail(exitCodes.usage, 'expected --stream <id>, or --tenant <name> with or without --caller <name>');
  if (yes !== true)
    fail(exitCodes.usage, 'expected --yes: what is erased cannot be read by anybody any more');
  const target: EraseTarget = isOne ? { stream } : { tenant: tenant ?? '', caller };
  const path = auditPath(from);
  if (!isOne && !hasStreams(path, { tenant, caller }))
    fail(
      exitCodes.notFound,
      `no stream of ${caller === undefined ? '' : `caller ${JSON.stringify(caller)} of `}tenant ${JSON.stringify(tenant)} in this log: expected names as "audit list --json" has them. What was erased before has no names any more`,
    );
  if (isOne) expectStream(path, stream);
  await change(path, (writer) => {
    const { records, streams } = erase(path, writer, target, nodeClock.dateMs());
    return `erased ${records} records of ${streams} streams`;
  });
}

/** What `audit prune` takes. */
export interface PruneOptions {
  readonly from?: string;
  readonly olderThan?: string;
  readonly maxBytes?: string;
}

/** Removes the oldest streams, and prints how many records that were and where the chain is that says so. */
export async function pruneCommand({ from, maxBytes, olderThan }: PruneOptions): Promise<void> {
  const limits: PruneLimits = {
    maxAgeMs: limit('--older-than', olderThan, 'a duration such as 90d or 12h', readDuration),
    maxBytes: limit('--max-bytes', maxBytes, 'a size such as 500MB or 1g', (text) =>
      readQuantity(text, 'bytes'),
    ),
  };
  if (limits.maxAgeMs === undefined && limits.maxBytes === undefined)
    fail(exitCodes.usage, 'expected --older-than <duration> or --max-bytes <size>, or both');
  await change(auditPath(from), (writer) => {
    let records = 0;
    for (;;) {
      const removed = prune(writer, limits, nodeClock.dateMs(), recordsAtOnce);
      if (removed === 0) break;
      records += removed;
    }
    // The file is smaller only when its write-ahead log is empty.
    if (records > 0) checkpoint(writer.db);
    return `pruned ${records} records`;
  });
}

/** Changes a log, as a writer of its own. */
async function change(path: string, work: (writer: AuditWriter) => string): Promise<void> {
  orFail(path, () => new AuditReader(path).close());
  const writer = new AuditWriter(path, `${hostname()} spillway audit`, nodeClock);
  try {
    const done = work(writer);
    const head = writer.close();
    await new Lines().write(head === undefined ? done : `${done}, head ${headAsText(head)}`);
  } catch (error) {
    writer.close();
    fail(exitCodes.failed, reasonOf(error, path));
  }
}

/** What is erased cannot be taken back: a stream is named by its own id alone. */
function expectStream(path: string, name: string): void {
  const reader = orFail(path, () => new AuditReader(path));
  const isThere = reader.stream(name) !== undefined;
  const [ofRequest] = reader.streams({ request: name });
  reader.close();
  if (isThere) return;
  const hint =
    ofRequest === undefined
      ? ''
      : `: that is the id of a request. Its stream is ${ofRequest.name}: give that to --stream`;
  fail(exitCodes.notFound, `no stream ${JSON.stringify(name)} in this log${hint}`);
}

/** Erased streams have no names. */
function hasStreams(path: string, filter: AuditFilter): boolean {
  const reader = orFail(path, () => new AuditReader(path));
  const [first] = reader.streams(filter);
  reader.close();
  return first !== undefined;
}

function limit(
  flag: string,
  text: string | undefined,
  expected: string,
  read: (text: string) => number | undefined,
): number | undefined {
  if (text === undefined) return undefined;
  const value = read(text);
  if (value === undefined || value <= 0)
    fail(exitCodes.usage, `${flag}: expected ${expected}, got ${JSON.stringify(text)}`);
  return value;
}
