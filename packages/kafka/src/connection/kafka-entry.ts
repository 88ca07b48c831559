import type { KafkaRecord, MessageRecord } from '@platformatic/kafka';
import { maxParts, type RecordPart } from '@spillway/core/engine';

const names = {
  stream: Buffer.from('stream'),
  seq: Buffer.from('seq'),
  part: Buffer.from('part'),
  parts: Buffer.from('parts'),
};

/** What an entry takes beside its value and twice the name of its stream, at most. */
const overheadBytes = 128;

/** How large an entry is for Kafka, at most. */
export function entryBytes({ stream, value }: RecordPart): number {
  return value.byteLength + 2 * stream.length + overheadBytes;
}

/** The entry of a part: its key is the stream, so that a stream has one partition; its headers say which part it is. */
export function toMessage(
  { part, parts, seq, stream, value }: RecordPart,
  topic: string,
  partition: number,
): MessageRecord {
  const key = Buffer.from(stream);
  return {
    topic,
    partition,
    key,
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    headers: new Map([
      [names.stream, key],
      [names.seq, Buffer.from(String(seq))],
      [names.part, Buffer.from(String(part))],
      [names.parts, Buffer.from(String(parts))],
    ]),
  };
}

/** The part that an entry is; `undefined`: another program has written it. */
export function toPart({ headers, key, value }: KafkaRecord): RecordPart | undefined {
  const found = new Map(headers.map(([name, text]) => [String(name), text]));
  const stream = String(found.get('stream') ?? '');
  const [seq, part, parts] = ['seq', 'part', 'parts'].map((name) => readNumber(found.get(name)));
  if (seq === undefined || part === undefined || parts === undefined || value === null) return undefined;
  const isOwn = /^[\w-]{1,128}$/.test(stream) && key !== null && stream === String(key);
  return isOwn && part < parts && parts <= maxParts ? { stream, seq, part, parts, value } : undefined;
}

function readNumber(text: Buffer | null | undefined): number | undefined {
  const digits = String(text ?? '');
  return /^(?:0|[1-9]\d{0,15})$/.test(digits) ? Number(digits) : undefined;
}
