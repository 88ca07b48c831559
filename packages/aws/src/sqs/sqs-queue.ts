import {
  GetQueueAttributesCommand,
  type QueueAttributeName,
  SQSClient,
  type SQSClientConfig,
} from '@aws-sdk/client-sqs';
import { EngineUrlReader } from '@spillway/core/engine';
import { Connections } from '../service/connections.ts';
import { endpointOf, readServiceUrl } from '../service/service-url.ts';
import { nameOf, withinTime } from '../service/service-failure.ts';

const form = 'sqs://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE (the queue’s URL, with sqs: for https:)';
const urls = new EngineUrlReader('SQS', form);
const known = ['endpoint', 'maxBatches', 'region'];
const regionOfHost = /^(?:sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?$/;

/** Until a queue says otherwise: what every queue has taken since there are queues. */
const leastMaxBytes = 262_144;

/** More than the longest wait for messages. */
const requestTimeoutMs = 30_000;

/** What a queue says of itself. */
export interface QueueSettings {
  readonly isFifo: boolean;
  /** The largest message. */
  readonly maxMessageBytes: number;
  /** How long messages are kept that nobody takes; `undefined`: it may not be asked. */
  readonly retentionSeconds: number | undefined;
  /** Whether a FIFO queue takes more than 300 calls a second. */
  readonly isFast: boolean;
  /** When it was made, in seconds of Unix time; `undefined`: it may not be asked. */
  readonly createdSeconds: number | undefined;
}

/** A queue of SQS, and the client that talks to it. */
export class SqsQueue {
  readonly client: SQSClient;
  readonly connections: Connections;
  /** As requests name it. */
  readonly url: string;
  /** For people. */
  readonly address: string;
  /** The queue's own name. */
  readonly name: string;
  /** Whether it is AWS that answers, and not somebody who speaks like it. */
  readonly isAws: boolean;
  /** How many requests may be under way. */
  readonly maxBatches: number;

  /** @throws {SpillwayError} `invalid_option`. */
  constructor(text: string) {
    const url = readServiceUrl(text, 'sqs', urls, known);
    const [account, name = ''] = url.path;
    if (url.path.length !== 2 || !/^[\w-]{1,80}(?:\.fifo)?$/.test(name))
      throw urls.invalid('expected the account and the queue behind the host');
    const endpoint = endpointOf(url, urls);
    const [, newer, older] = regionOfHost.exec(url.host) ?? [];
    const region = url.parameters.get('region') ?? newer ?? older;
    this.name = name;
    this.address = `sqs://${url.host}/${account}/${name}`;
    this.url = `${endpoint ?? `https://${url.host}`}/${account}/${name}`;
    this.isAws = endpoint === undefined && (newer ?? older) !== undefined;
    this.maxBatches = urls.whole(url.parameters, 'maxBatches', 1, 64) ?? 8;
    // One more for a call that waits for messages, and one for what is told of those in hand.
    this.connections = new Connections(this.maxBatches + 2);
    const config: SQSClientConfig = {
      ...this.connections.settings(requestTimeoutMs),
      ...(region === undefined ? {} : { region }),
      ...(endpoint === undefined ? {} : { endpoint }),
    };
    this.client = new SQSClient(config);
  }

  /** Asks the queue what it is. */
  async settings(signal: AbortSignal): Promise<QueueSettings> {
    try {
      const attributes = await this.#attributes(this.url, ['All'], signal);
      const numberIn = (name: QueueAttributeName): number | undefined =>
        attributes[name] === undefined ? undefined : Number(attributes[name]);
      return {
        isFifo: attributes['FifoQueue'] === 'true',
        maxMessageBytes: numberIn('MaximumMessageSize') ?? leastMaxBytes,
        retentionSeconds: numberIn('MessageRetentionPeriod'),
        isFast: attributes['FifoThroughputLimit'] === 'perMessageGroupId',
        createdSeconds: numberIn('CreatedTimestamp'),
      };
    } catch (error) {
      if (!/AccessDenied/i.test(nameOf(error))) throw error;
      // Who may only send or receive may do just that.
      const isFifo = this.name.endsWith('.fifo');
      return {
        isFifo,
        maxMessageBytes: leastMaxBytes,
        retentionSeconds: undefined,
        isFast: true,
        createdSeconds: undefined,
      };
    }
  }

  /** The messages that are in a queue of the same account, with those that somebody has received. */
  async count(queue: string, signal: AbortSignal): Promise<number> {
    const names: QueueAttributeName[] = [
      'ApproximateNumberOfMessages',
      'ApproximateNumberOfMessagesDelayed',
      'ApproximateNumberOfMessagesNotVisible',
    ];
    const url = `${this.url.slice(0, this.url.lastIndexOf('/'))}/${queue}`;
    const attributes = await this.#attributes(url, names, signal);
    return names.reduce((sum, name) => sum + Number(attributes[name] ?? 0), 0);
  }

  async #attributes(
    url: string,
    names: QueueAttributeName[],
    signal: AbortSignal,
  ): Promise<Partial<Record<string, string>>> {
    const command = new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: names });
    const { Attributes } = await this.connections.onceMore(
      () => this.client.send(command, { abortSignal: signal }),
      signal,
    );
    return Attributes ?? {};
  }
}

/** Opens a queue within a time. Releases all if that fails. */
export async function openQueue(
  url: string,
  code: 'sink_failed' | 'source_failed',
  openTimeoutMs: number,
): Promise<{ readonly queue: SqsQueue; readonly settings: QueueSettings }> {
  const queue = new SqsQueue(url);
  try {
    const opening = `The opening of the queue ${queue.address}`;
    const settings = await withinTime(code, opening, openTimeoutMs, (signal) => queue.settings(signal));
    return { queue, settings };
  } catch (error) {
    queue.client.destroy();
    throw error;
  }
}
