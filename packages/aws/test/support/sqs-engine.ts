import { randomUUID } from 'node:crypto';
import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { openSqsSink } from '@spillway/aws';
import type { SinkRecord } from '@spillway/core';
import type { EngineSink, EngineSinkOptions } from '@spillway/core/engine';
import type { SinkEngine } from '@spillway/core/testing';
import type { AwsEmulator } from './aws-emulator.ts';
import type { AwsFront, Intercept } from './aws-front.ts';

/** A queue of its own, behind something that breaks it. */
export class SqsEngine implements SinkEngine {
  readonly front: AwsFront;
  readonly url: string;
  readonly queueUrl: string;
  readonly client: SQSClient;
  readonly remembers: boolean;
  readonly #options: Partial<EngineSinkOptions>;
  /** Records in the order of their last parts. */
  readonly #found: { readonly stream: string; readonly seq: number }[] = [];
  readonly #parts = new Map<string, Uint8Array[]>();

  private constructor(
    front: AwsFront,
    client: SQSClient,
    queueUrl: string,
    options: Partial<EngineSinkOptions>,
  ) {
    this.front = front;
    this.client = client;
    this.queueUrl = queueUrl;
    this.#options = options;
    this.url = this.urlBehind(front);
    this.remembers = queueUrl.endsWith('.fifo');
  }

  static async create(
    emulator: AwsEmulator,
    options: Partial<EngineSinkOptions> & {
      readonly isFifo?: boolean;
      readonly attributes?: Record<string, string>;
    } = {},
  ): Promise<SqsEngine> {
    const { attributes, isFifo = true, ...others } = options;
    const client = new SQSClient({ endpoint: emulator.url });
    const { QueueUrl = '' } = await client.send(
      new CreateQueueCommand({
        QueueName: `q-${randomUUID()}${isFifo ? '.fifo' : ''}`,
        Attributes: { ...(isFifo && { FifoQueue: 'true' }), ...attributes },
      }),
    );
    return new SqsEngine(await emulator.front(), client, QueueUrl, others);
  }

  urlBehind(front: Pick<AwsFront, 'url'>): string {
    const { host, pathname } = new URL(this.queueUrl);
    return `sqs://${host}${pathname}?region=us-east-1&endpoint=${front.url}`;
  }

  open(): Promise<EngineSink> {
    // A machine that is busy is slow, and is no engine that fails.
    return openSqsSink({ url: this.url, openTimeoutMs: 60_000, ...this.#options });
  }

  /** Takes out what is there, and counts all that ever was: with what came twice. */
  async records(): Promise<readonly SinkRecord[]> {
    for (;;) {
      const { Messages = [] } = await this.client.send(
        new ReceiveMessageCommand({
          QueueUrl: this.queueUrl,
          MaxNumberOfMessages: 10,
          MessageAttributeNames: ['All'],
        }),
      );
      if (Messages.length === 0)
        return this.#found.map(({ seq, stream }) => {
          const parts = Array.from(this.#parts.get(`${stream} ${seq}`) ?? []);
          return { stream, seq, value: Buffer.concat(parts) };
        });
      for (const message of Messages) this.#add(message);
      await this.client.send(
        new DeleteMessageBatchCommand({
          QueueUrl: this.queueUrl,
          Entries: Messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle })),
        }),
      );
    }
  }

  /** The emulator takes every message: what refuses stands before it, and answers as SQS does. */
  refuse({ seq, stream }: SinkRecord): void {
    this.front.intercept = failing((entry) => entry.stream === stream && entry.seq === seq, {
      Code: 'InvalidMessageContents',
      SenderFault: true,
    });
  }

  fail(): void {
    this.front.fail();
  }

  hang(): void {
    this.front.hang();
  }

  heal(): Promise<void> {
    return this.front.heal();
  }

  openCount(): Promise<number> {
    return this.front.openCount();
  }

  async remove(): Promise<void> {
    await this.front.close();
    this.client.destroy();
  }

  #add({ Body = '', MessageAttributes = {} }: Message): void {
    const text = (name: string): string => MessageAttributes[name]?.StringValue ?? '';
    const stream = text('stream');
    const seq = Number(text('seq'));
    const encoding = text('encoding');
    const value =
      encoding === 'none' ? Buffer.alloc(0) : Buffer.from(Body, encoding === 'text' ? 'utf8' : 'base64');
    const parts = this.#parts.get(`${stream} ${seq}`) ?? [];
    this.#parts.set(`${stream} ${seq}`, parts);
    parts[Number(text('part'))] = value;
    if (Number(text('part')) < Number(text('parts')) - 1) return;
    this.#found.push({ stream, seq });
  }
}

interface BatchAnswer {
  Successful?: unknown[];
  Failed?: unknown[];
}

/** Lets entries of a batch fail, and gives the engine the others. */
export function failing(
  isChosen: (entry: { readonly stream: string; readonly seq: number; readonly part: number }) => boolean,
  failure: { readonly Code: string; readonly SenderFault: boolean },
): Intercept {
  return async (asked, forward) => {
    if (!String(asked.headers['x-amz-target']).endsWith('SendMessageBatch')) return forward(asked);
    const request = JSON.parse(asked.body.toString()) as {
      Entries: { Id: string; MessageAttributes: Record<string, { StringValue: string }> }[];
    };
    const chosen = request.Entries.filter(({ MessageAttributes: { part, seq, stream } }) =>
      isChosen({
        stream: stream?.StringValue ?? '',
        seq: Number(seq?.StringValue),
        part: Number(part?.StringValue),
      }),
    );
    if (chosen.length === 0) return forward(asked);
    const others = request.Entries.filter((entry) => !chosen.includes(entry));
    let answer: BatchAnswer = { Successful: [] };
    let headers: NodeJS.Dict<string | string[]> = { 'content-type': 'application/x-amz-json-1.0' };
    if (others.length > 0) {
      const body = Buffer.from(JSON.stringify({ ...request, Entries: others }));
      const came = await forward({ ...asked, body });
      answer = JSON.parse(came.body.toString()) as BatchAnswer;
      headers = came.headers;
    }
    const Failed = [...(answer.Failed ?? []), ...chosen.map(({ Id }) => ({ Id, ...failure }))];
    const body = Buffer.from(JSON.stringify({ ...answer, Failed }));
    return { status: 200, headers: { ...headers, 'content-length': String(body.length) }, body };
  };
}
