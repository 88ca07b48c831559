import { createClient, RESP_TYPES } from '@redis/client';
import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import type { RedisServer } from './redis-server.ts';

type Bytes = Buffer;

/** The entries of a stream: their ids and fields. */
export async function entriesOf(
  port: number,
  key: string,
): Promise<{ readonly id: string; readonly fields: ReadonlyMap<string, Bytes> }[]> {
  const client = createClient({
    socket: { host: '127.0.0.1', port, reconnectStrategy: false },
    RESP: 2,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const reply = (await client.sendCommand(['XRANGE', key, '-', '+'])) as unknown as [Bytes, Bytes[]][];
    return reply.map(([id, words]) => {
      const fields = new Map<string, Bytes>();
      for (let index = 0; index < words.length; index += 2)
        fields.set(String(words[index]), words[index + 1] ?? Buffer.alloc(0));
      return { id: String(id), fields };
    });
  } finally {
    client.destroy();
  }
}

/** The records of a stream, as a reader of it finds them: each that comes twice is there twice. */
export async function recordsOf(server: RedisServer, key: string): Promise<SinkRecord[]> {
  const joiner = new RecordJoiner<string>();
  const records: SinkRecord[] = [];
  const seen = new Set<string>();
  for (const { id, fields } of await entriesOf(server.port, key)) {
    const [stream, seq, part, parts] = ['stream', 'seq', 'part', 'parts'].map((name) =>
      String(fields.get(name) ?? ''),
    );
    const number = Number(part || 0);
    const value = fields.get('value') ?? Buffer.alloc(0);
    const name = `${stream} ${seq} ${number}`;
    if (seen.has(name)) throw new Error(`expected each part once, got ${name} twice`);
    seen.add(name);
    const whole = { stream: stream ?? '', seq: Number(seq), part: number, parts: Number(parts || 1), value };
    const joined = joiner.add(whole, id);
    if (joined.kind === 'record') records.push(joined.record);
  }
  return records;
}
