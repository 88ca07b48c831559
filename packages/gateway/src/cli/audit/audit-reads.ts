import type { AuditedStream, AuditFilter, AuditReader } from '@spillway/server/audit/audit-reader';
import { verifyAudit } from '@spillway/server/audit/verify-audit';
import { exitCodes } from '../exit-codes.ts';
import { auditPath, fail, orFail, withReader } from './audit-source.ts';
import { readHead, readHeads } from './given-heads.ts';
import { Lines } from './lines.ts';
import { listHeader, listLine } from './list-line.ts';
import { recordLine } from './record-line.ts';
import { reportLines } from './report-lines.ts';
import { streamText } from './stream-text.ts';
import { states } from './stream-states.ts';
import { timeOption } from './time-option.ts';

/** What `audit list` takes. */
export interface ListOptions extends Omit<AuditFilter, 'sinceMs'> {
  readonly from?: string;
  readonly since?: string;
  readonly limit: string;
  readonly json?: true;
}

/** Lists streams. */
export async function listCommand({
  from: source,
  json,
  limit,
  since,
  ...filter
}: ListOptions): Promise<void> {
  const { state } = filter;
  if (state !== undefined && !states.includes(state))
    fail(exitCodes.usage, `--state: expected one of ${states.join(', ')}, got ${JSON.stringify(state)}`);
  if (!/^[1-9]\d{0,8}$/.test(limit))
    fail(exitCodes.usage, `--limit: expected a number from 1, got ${JSON.stringify(limit)}`);
  const sinceMs = since === undefined ? undefined : timeOption('--since', since);
  await withReader(source, async (reader) => {
    const lines = new Lines();
    let listed = 0;
    for (const stream of reader.streams({ ...filter, sinceMs })) {
      if (json === undefined && listed === 0) await lines.write(listHeader);
      await lines.write(json === undefined ? listLine(stream) : JSON.stringify(stream));
      listed += 1;
      if (listed === Number(limit)) break;
    }
    if (listed > 0) return;
    if (filter.request !== undefined)
      fail(
        exitCodes.notFound,
        `no stream of request ${JSON.stringify(filter.request)} in this log that fits: ${whyNot}`,
      );
    process.stderr.write('spillway: no stream in this log that fits\n');
  });
}

/** What `audit show` takes. */
export interface ShowOptions {
  readonly from?: string;
  readonly json?: true;
}

/** Shows one stream. */
export async function showCommand(id: string, { from: source, json }: ShowOptions): Promise<void> {
  await withReader(source, async (reader) => {
    const stream = streamOf(reader, id);
    const records = reader.recordsOf(stream.name);
    const lines = new Lines();
    if (json === undefined) for (const line of streamText(stream, records)) await lines.write(line);
    else await printRecords(records, lines);
  });
}

/** What `audit export` takes. */
export interface ExportOptions {
  readonly from?: string;
  readonly since?: string;
  readonly stream?: string;
}

/** Prints records. */
export async function exportCommand({ from: source, since, stream }: ExportOptions): Promise<void> {
  const sinceMs = since === undefined ? 0 : timeOption('--since', since);
  await withReader(source, async (reader) => {
    if (stream === undefined) return await printRecords(reader.records(sinceMs), new Lines());
    return await printRecords(reader.recordsOf(streamOf(reader, stream).name), new Lines(), sinceMs);
  });
}

async function printRecords(
  records: ReturnType<AuditReader['records']>,
  lines: Lines,
  sinceMs = 0,
): Promise<void> {
  for (const record of records) if (record.atMs >= sinceMs) await lines.write(recordLine(record));
}

/** What `audit verify` takes. */
export interface VerifyOptions {
  readonly from?: string;
  readonly head: readonly string[];
  readonly heads?: string;
  readonly json?: true;
}

/** Verifies a log. Sets the exit code. */
export async function verifyCommand({ from: source, head, heads: file, json }: VerifyOptions): Promise<void> {
  const path = auditPath(source);
  const heads = [...head.map(readHead), ...(file === undefined ? [] : readHeads(file))];
  const report = orFail(path, () => verifyAudit(path, heads));
  const lines = new Lines();
  const text = json === undefined ? reportLines(path, report, heads.length > 0) : [JSON.stringify(report)];
  for (const line of text) await lines.write(line);
  process.exitCode = report.problemCount === 0 ? exitCodes.done : exitCodes.failed;
}

const whyNot = 'it was never there, was erased, or was pruned';

/** The stream with that id, or that a request with that id began. */
function streamOf(reader: AuditReader, id: string): AuditedStream {
  const [ofRequest] = reader.streams({ request: id });
  return (
    reader.stream(id) ??
    ofRequest ??
    fail(
      exitCodes.notFound,
      `no stream ${JSON.stringify(id)} in this log, nor one of a request with that id: ${whyNot}`,
    )
  );
}
