/**
 * Brings what a tap has written into a queue of SQS into a file, a line each. It may be stopped or killed, and goes on
 * from where it was. What was in the file and not acknowledged when it was killed is there twice then, under the same
 * stream and number.
 *
 *     npm install @spillway/core @spillway/aws
 *     node examples/08-readers/sqs.ts sqs://sqs.eu-central-1.amazonaws.com/123456789012/llm.fifo answers.jsonl
 */
import { appendFile } from 'node:fs/promises';
import { copyRecords } from '@spillway/core/copy-records';
import { openSqsSource } from '@spillway/aws';

const [url = 'sqs://sqs.eu-central-1.amazonaws.com/123456789012/llm.fifo', path = 'answers.jsonl'] =
  process.argv.slice(2);
// What a reader had in hand that was killed comes again after 5 s.
const source = await openSqsSource({ url, visibilityMs: 5000 });
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
    onRetry: ({ error, pauseMs, step }) =>
      console.log(`the ${step} again in ${pauseMs} ms: ${String(error)}`),
  },
);
await source.close();
console.log(`${records} records`);
