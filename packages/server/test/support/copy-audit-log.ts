/**
 * Copies an audit log to a file, a line for each record, until it is killed: `node copy-audit-log.ts LOG NAME FILE`.
 * Batches are small, and the write takes some milliseconds, so that a kill comes at any moment.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { copyRecords } from '@spillway/core/copy-records';
import { openAuditSource } from '../../src/audit/audit-source.ts';

const [path = '', name = '', file = ''] = process.argv.slice(2);
const source = await openAuditSource(path, { name });
await copyRecords(
  source,
  {
    async write(records) {
      await sleep(2);
      for (const { seq, stream, value } of records)
        appendFileSync(file, `${stream} ${seq} ${Buffer.from(value).toString()}\n`);
    },
  },
  { maxItems: 5, signal: new AbortController().signal },
);
