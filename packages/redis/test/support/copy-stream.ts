import { createClient } from '@redis/client';
import { copyRecords } from '@spillway/core/copy-records';
import { openRedisSource } from '@spillway/redis';

/** Copies a stream into a list of the same Redis, 5 records at a time, until it is killed. */
const [url = ''] = process.argv.slice(2);
const client = createClient({ url, RESP: 2 });
client.on('error', () => undefined);
await client.connect();
const source = await openRedisSource({ url, name: 'copier' });
await copyRecords(
  source,
  {
    async write(records) {
      const names = records.map(
        ({ seq, stream, value }) => `${stream} ${seq} ${Buffer.from(value).toString()}`,
      );
      await client.sendCommand(['RPUSH', 'copy', ...names]);
    },
  },
  { maxItems: 5, signal: new AbortController().signal },
);
