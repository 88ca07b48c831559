/**
 * Brings what a tap has written into a stream of NATS into a file, a line each. It may be stopped or killed, and goes on
 * from where it was. What was in the file and not acknowledged when it was killed is there twice then, under the same
 * stream and number.
 *
 *     npm install @spillway/core @spillway/nats
 *     node examples/08-readers/nats.ts nats://127.0.0.1:4222/llm answers.jsonl
 */
import { appendFile } from 'node:fs/promises';
import { copyRecords } from '@spillway/core/copy-records';
import { openNatsSource } from '@spillway/nats';

const [url = 'nats://127.0.0.1:4222/llm', path = 'answers.jsonl'] = process.argv.slice(2);
const source = await openNatsSource({ url, name: 'answers' });
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const write = async (records: readonly { readonly value: Uint8Array }[]): Promise<void> => {
  const lines = records.map(({ value }) => `${Buffer.from(value).toString()}\n`);
  await appendFile(path, lines.join(''), { flush: true });
};
const { records } = await copyRecords(
  source,
  { write },
  {
    signal: stop.signal,
    onGap: ({ from, reason, to }) => console.log(`messages ${from} to ${to} are missing: ${reason}`),
    onRetry: ({ error, pauseMs, step }) =>
      console.log(`the ${step} again in ${pauseMs} ms: ${String(error)}`),
  },
);
await source.close();
console.log(`${records} records`);
