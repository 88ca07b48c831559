import { answerTo, type Passage, type PassingRequest } from './kafka-proxy.ts';

const apiVersions = 18;
const saslHandshake = 17;
const saslAuthenticate = 36;
const describeConfigs = 32;

/** What brokers have beside what the mock has: the settings of a topic, and a login. */
export interface BrokerExtras {
  readonly config?: Readonly<Record<string, string>>;
  /** `\0USER\0PASSWORD`, as SASL PLAIN has it. */
  readonly login?: string;
}

/** Answers what the mock does not, as brokers do. `undefined`: the mock has to. */
export function answerAsBroker(
  request: PassingRequest,
  { config, login }: BrokerExtras,
): Passage | undefined {
  const { apiKey, frame } = request;
  if (apiKey === apiVersions) {
    const extras = [
      ...(config === undefined ? [] : [describeConfigs]),
      ...(login === undefined ? [] : [saslAuthenticate]),
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
  if (login === undefined) return undefined;
  if (apiKey === saslHandshake) return answerTo(request, Buffer.concat([int16(0), int32(1), text('PLAIN')]));
  if (apiKey !== saslAuthenticate) return undefined;
  const isRight = frame.subarray(-Buffer.byteLength(login)).toString() === login;
  return answerTo(request, Buffer.concat([int16(isRight ? 0 : 58), text(isRight ? '' : 'wrong'), int32(0)]));
}

/** The answer of version 0 or 1 to which APIs there are, with others at their versions 0 to 2, or 0 of a login. */
function withApis(answer: Buffer, keys: readonly number[]): Buffer {
  const count = answer.readInt32BE(10);
  const end = 14 + count * 6;
  const added = keys.map((key) =>
    Buffer.concat([int16(key), int16(0), int16(key === describeConfigs ? 2 : 0)]),
  );
  const body = Buffer.concat([
    answer.subarray(4, 10),
    int32(count + keys.length),
    answer.subarray(14, end),
    ...added,
    answer.subarray(end),
  ]);
  return Buffer.concat([int32(body.length), body]);
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
