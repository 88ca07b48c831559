import { answerTo, type Passage, type PassingRequest } from './kafka-proxy.ts';

const apiVersions = 18;
const saslHandshake = 17;
const saslAuthenticate = 36;
const describeConfigs = 32;
const metadata = 3;
/** The highest version of each that is answered here. */
const versions = new Map([
  [describeConfigs, 2],
  [saslAuthenticate, 0],
  [metadata, 9],
]);

/** What brokers have beside what the mock has: the settings of a topic, and a login. */
export interface BrokerExtras {
  readonly config?: Readonly<Record<string, string>>;
  /** `\0USER\0PASSWORD`, as SASL PLAIN has it. */
  readonly login?: string;
  /** What a user may do with a topic, as bits: Metadata of version 9 says so. */
  readonly operations?: { readonly topic: string; readonly port: number; readonly operations: number };
}

/** Answers what the mock does not, as brokers do. `undefined`: the mock has to. */
export function answerAsBroker(
  request: PassingRequest,
  { config, login, operations }: BrokerExtras,
): Passage | undefined {
  const { apiKey, frame } = request;
  if (apiKey === apiVersions) {
    const extras = [
      ...(config === undefined ? [] : [describeConfigs]),
      ...(login === undefined ? [] : [saslAuthenticate]),
      ...(operations === undefined ? [] : [metadata]),
    ];
    return { frame, change: (answer) => withApis(answer, extras) };
  }
  if (apiKey === describeConfigs && config !== undefined) {
    const entries = Object.entries(config).map(([name, value]) =>
      Buffer.concat([text(name), text(value), Buffer.from([0, 5, 0]), int32(0)]),
    );
    const head = [int32(0), int32(1), int16(0), int16(-1), Buffer.from([2]), text('topic')];
    return answerTo(request, Buffer.concat([...head, int32(entries.length), ...entries]));
  }
  if (apiKey === metadata && request.apiVersion === 9 && operations !== undefined) {
    // Texts and lists of this version have their length and one more before them; what ends with 0 has no tags.
    const topic = [int16(0), compact(operations.topic), Buffer.from([0, 1]), int32(operations.operations)];
    const head = [Buffer.from([0]), int32(0), Buffer.from([1, 0]), int32(0), Buffer.from([2])];
    return answerTo(
      request,
      Buffer.concat([...head, ...topic, Buffer.from([0]), int32(0), Buffer.from([0])]),
    );
  }
  if (apiKey === metadata && operations !== undefined) {
    // With one broker and one partition. The mock has no version behind 2.
    const broker = [int32(1), text('127.0.0.1'), int32(operations.port), int16(-1)];
    const partition = [int16(0), int32(0), int32(1), int32(1), int32(1), int32(1), int32(1), int32(0)];
    const about = [int16(0), text(operations.topic), Buffer.from([0]), int32(1), ...partition];
    const all = [int32(0), int32(1), ...broker, int16(-1), int32(1), int32(1), ...about];
    return answerTo(request, Buffer.concat(all));
  }
  if (login === undefined) return undefined;
  if (apiKey === saslHandshake) return answerTo(request, Buffer.concat([int16(0), int32(1), text('PLAIN')]));
  if (apiKey !== saslAuthenticate) return undefined;
  const isRight = frame.subarray(-Buffer.byteLength(login)).toString() === login;
  return answerTo(request, Buffer.concat([int16(isRight ? 0 : 58), text(isRight ? '' : 'wrong'), int32(0)]));
}

/** The answer of version 0 or 1 to which APIs there are, with others, or other versions of one. */
function withApis(answer: Buffer, keys: readonly number[]): Buffer {
  const count = answer.readInt32BE(10);
  const end = 14 + count * 6;
  const added = keys.map((key) => Buffer.concat([int16(key), int16(0), int16(versions.get(key) ?? 0)]));
  const body = Buffer.concat([
    answer.subarray(4, 10),
    int32(count + keys.length),
    answer.subarray(14, end),
    ...added,
    answer.subarray(end),
  ]);
  return Buffer.concat([int32(body.length), body]);
}

function compact(value: string): Buffer {
  return Buffer.concat([Buffer.from([Buffer.byteLength(value) + 1]), Buffer.from(value)]);
}

function text(value: string): Buffer {
  return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)]);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
