import type { ClientFrame } from '@spillway/core/session';
import { z } from 'zod';
import { areHeaders, maxHeaders } from './frame-headers.ts';

const stream = z.int().min(1).max(0xffff_ffff);
const offset = z.int().min(0).max(0xffff_ffff_ffff);
const windowBytes = z.int().min(1024).max(0xffff_ffff);
const windowMs = z.int().min(1).max(0xffff_ffff).optional();
const reader = z.string().regex(/^[\w-]{22,64}$/);
const text = z.string().max(8192);
const headers = z.custom<Readonly<Record<string, string>>>(areHeaders);

/** The shape of each frame; see PROTOCOL.md, 5. */
const schema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('open'), windowBytes }),
  z.strictObject({
    type: z.literal('request'),
    stream,
    reader,
    windowBytes,
    windowMs,
    method: z.literal('POST'),
    path: text,
    headers,
    body: z.string(),
  }),
  z.strictObject({
    type: z.literal('read'),
    stream,
    reader,
    windowBytes,
    windowMs,
    url: text,
    headers,
    from: z.union([offset, z.enum(['now', 'start'])]),
    overflow: z.enum(['block', 'coalesce', 'disconnect', 'drop-newest', 'drop-oldest', 'latest']),
    maxBytes: windowBytes.optional(),
    merges: z.boolean().optional(),
  }),
  z.strictObject({
    type: z.literal('resume'),
    stream,
    reader,
    headers,
    offset,
    acked: offset,
    session: reader.optional(),
    request: stream.optional(),
    more: z.literal(true).optional(),
  }),
  z.strictObject({ type: z.literal('ack'), stream, offset }),
  z.strictObject({ type: z.literal('cancel'), stream }),
  z.strictObject({ type: z.literal('detach'), stream }),
  z.strictObject({ type: z.literal('ping') }),
]) satisfies z.ZodType<ClientFrame>;

/**
 * The most marks (brackets, braces, commas) that a frame has outside its texts, generously. Each value follows a
 * mark.
 */
const maxMarks = 2 * maxHeaders;
const bracket = 0x5b;
const brace = 0x7b;
const comma = 0x2c;
const quote = 0x22;
const backslash = 0x5c;

/** Reads a control frame; `undefined`: the frame breaks the rules. */
export function readClientFrame(message: Buffer): ClientFrame | undefined {
  if (!hasFewValues(message)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(message.toString('utf8'));
  } catch {
    return undefined;
  }
  return schema.safeParse(value).data;
}

/**
 * Whether the message has no more values than a frame can have. A parser takes a hundred times as long for values as
 * for text.
 */
function hasFewValues(message: Buffer): boolean {
  if (message.length <= maxMarks) return true;
  let marks = 0;
  let isText = false;
  for (let at = 0; at < message.length && marks <= maxMarks; at += 1) {
    const byte = message[at];
    if (byte === quote) isText = !isText;
    else if (isText) at += Number(byte === backslash);
    else if (byte === comma || byte === bracket || byte === brace) marks += 1;
  }
  return marks <= maxMarks;
}
