import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import type { Msg } from '@nats-io/transport-node';
import type { NatsServer } from './nats-server.ts';

/** All messages of a stream, by a consumer that leaves no trace. */
export async function readMessages(server: NatsServer, stream: string): Promise<Msg[]> {
  const { state } = (await server.api(`STREAM.INFO.${stream}`)) as { state?: { messages: number } };
  const count = state?.messages ?? 0;
  if (count === 0) return [];
  const config = { ack_policy: 'none', deliver_policy: 'all', inactive_threshold: 10_000_000_000 };
  const made = await server.api(`CONSUMER.CREATE.${stream}`, { stream_name: stream, config });
  const client = await server.client();
  const inbox = `_INBOX.test.${crypto.randomUUID()}`;
  const subscription = client.subscribe(inbox, { max: count });
  const name = String(made['name']);
  client.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, JSON.stringify({ batch: count }), {
    reply: inbox,
  });
  const messages: Msg[] = [];
  for await (const message of subscription) messages.push(message);
  await server.api(`CONSUMER.DELETE.${stream}.${name}`);
  return messages;
}

/** The records of a stream, put together from their parts by a reader that knows only headers. */
export async function readRecords(server: NatsServer, stream: string): Promise<SinkRecord[]> {
  const joiner = new RecordJoiner<number>();
  const records: SinkRecord[] = [];
  for (const { data, headers } of await readMessages(server, stream)) {
    const whole = (name: string, otherwise: string): number => Number(headers?.get(name) || otherwise);
    const part = {
      stream: headers?.get('Spillway-Stream') ?? '',
      seq: whole('Spillway-Seq', '-1'),
      part: whole('Spillway-Part', '0'),
      parts: whole('Spillway-Parts', '1'),
      value: data,
    };
    const joined = joiner.add(part, part.seq);
    if (joined.kind === 'record') records.push(joined.record);
    if (joined.kind === 'known') records.push(part);
  }
  return records;
}
