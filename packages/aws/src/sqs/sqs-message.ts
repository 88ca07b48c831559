import { createHash } from 'node:crypto';
import type { Message, MessageAttributeValue } from '@aws-sdk/client-sqs';
import type { RecordPart } from '@spillway/core/engine';

/** A record, or a part of one, as a message has it. */
export interface SqsEntry {
  readonly body: string;
  readonly attributes: Readonly<Record<string, MessageAttributeValue>>;
  /** As SQS counts: the body, and names, types and values of the attributes. */
  readonly bytes: number;
}

/** What names, types and values of the attributes take at most. */
const maxAttributeBytes = 512;

/** What SQS refuses in a body. */
const forbidden = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The most bytes of a value that fit into one message, whatever they are. */
export function maxValueBytes(maxMessageBytes: number): number {
  return Math.floor((maxMessageBytes - maxAttributeBytes) / 4) * 3;
}

/**
 * A part as a message. Its bytes are text where SQS takes that text, and base64 otherwise, so that every byte survives;
 * `encoding` says which. A message has to have a body: that of no bytes is `-`, and its `encoding` is `none`.
 */
export function encodePart({ part, parts, seq, stream, value }: RecordPart): SqsEntry {
  const text = textOf(value);
  const encoding = value.byteLength === 0 ? 'none' : text === undefined ? 'base64' : 'text';
  const body =
    encoding === 'none'
      ? '-'
      : (text ?? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'));
  const attributes = {
    stream: { DataType: 'String', StringValue: stream },
    seq: { DataType: 'Number', StringValue: String(seq) },
    part: { DataType: 'Number', StringValue: String(part) },
    parts: { DataType: 'Number', StringValue: String(parts) },
    encoding: { DataType: 'String', StringValue: encoding },
  };
  let bytes = text === undefined ? body.length : value.byteLength;
  for (const [name, { DataType, StringValue }] of Object.entries(attributes))
    bytes += name.length + DataType.length + StringValue.length;
  return { body, attributes, bytes };
}

/** The part that a message has; `undefined`: it is another program's. */
export function decodePart({
  Body: body = '',
  MessageAttributes: attributes = {},
}: Message): RecordPart | undefined {
  const stream = attributes['stream']?.StringValue ?? '';
  const seq = countOf(attributes['seq']);
  const part = countOf(attributes['part']);
  const parts = countOf(attributes['parts']);
  const value = valueOf(body, attributes['encoding']?.StringValue);
  if (!/^[\w-]{1,128}$/.test(stream) || seq === undefined || value === undefined) return undefined;
  if (part === undefined || parts === undefined || part >= parts || parts > 100_000) return undefined;
  return { stream, seq, part, parts, value };
}

/** A part's id, by which SQS knows it when it comes again. No two parts have the same; 128 characters at most. */
export function idOf({ part, seq, stream }: Pick<RecordPart, 'part' | 'seq' | 'stream'>): string {
  const id = `${stream}:${seq}:${part}`;
  return id.length <= 128 ? id : createHash('sha256').update(id).digest('hex');
}

function textOf(value: Uint8Array): string | undefined {
  try {
    const text = utf8.decode(value);
    return forbidden.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

function valueOf(body: string, encoding: string | undefined): Uint8Array | undefined {
  if (encoding === 'none') return new Uint8Array();
  if (encoding === 'text') return Buffer.from(body);
  return encoding === 'base64' ? Buffer.from(body, 'base64') : undefined;
}

function countOf(attribute: MessageAttributeValue | undefined): number | undefined {
  const text = attribute?.StringValue ?? '';
  const count = Number(text);
  return /^\d{1,16}$/.test(text) && Number.isSafeInteger(count) ? count : undefined;
}
