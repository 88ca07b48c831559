/**
 * Writes to an audit log until it is killed, and prints each batch that was acknowledged: `ack <stream> <records>`. One
 * that was rejected it prints too (`fail <code>`), and writes it again.
 *
 * Arguments: the path of the log, a name for its streams, the bytes of each value, a number of batches after which it
 * closes the log, and a pause after each batch, in ms.
 */
import { setTimeout } from 'node:timers/promises';
import { writeSync } from 'node:fs';
import type { SinkRecord } from '@spillway/core';
import { openAuditLog } from '../../src/audit/audit-log.ts';

const [path = '', name = '', bytes = '100', batches = 'Infinity', pauseMs = '0'] = process.argv.slice(2);
const never = new AbortController().signal;
const log = await openAuditLog(path, { node: name });
writeSync(1, 'ready\n');
for (let batch = 0; batch < Number(batches); batch += 1) {
  const stream = `${name}-${process.pid}-${batch}`;
  const count = 1 + (batch % 7);
  const records = Array.from({ length: count }, (_, seq): SinkRecord => {
    const text = `${stream}/${seq}`.padEnd(Number(bytes), '.');
    return { stream, seq, value: Buffer.from(JSON.stringify({ kind: 'chunks', at: 1000, text })) };
  });
  if (pauseMs !== '0') await setTimeout(Number(pauseMs));
  for (let isKept = false; !isKept;) {
    try {
      await log.write(records, never);
      isKept = true;
      writeSync(1, `ack ${stream} ${count}\n`);
    } catch (error) {
      writeSync(1, `fail ${(error as { code: string }).code}\n`);
      await setTimeout(20);
    }
  }
}
await log.close();
writeSync(1, 'closed\n');
