import type { ClientFrame } from '@spillway/core/session';
import { z } from 'zod';

const stream = z.int().min(1).max(0xffff_ffff);
const offset = z.int().min(0).max(0xffff_ffff_ffff);
const windowBytes = z.int().min(1024).max(0xffff_ffff);
const reader = z.string().regex(/^[\w-]{22,64}$/);
const text = z.string().max(8192);
const headers = z.record(
  z.string().regex(/^[\w!#$%&'*+.^`|~-]{1,256}$/),
  z.string().regex(/^[\t\x20-\x7e\x80-\xff]{0,8192}$/),
);

/** What a frame has to look like; see PROTOCOL.md, 5. */
const schema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('open'), windowBytes }),
  z.strictObject({
    type: z.literal('request'),
    stream,
    reader,
    windowBytes,
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
    url: text,
    headers,
    from: z.union([offset, z.enum(['now', 'start'])]),
    overflow: z.enum(['block', 'coalesce', 'disconnect', 'drop-newest', 'drop-oldest', 'latest']),
    maxBytes: windowBytes.optional(),
    merges: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('resume'), stream, reader, headers, offset, acked: offset }),
  z.strictObject({ type: z.literal('ack'), stream, offset }),
  z.strictObject({ type: z.literal('cancel'), stream }),
  z.strictObject({ type: z.literal('detach'), stream }),
  z.strictObject({ type: z.literal('ping') }),
]) satisfies z.ZodType<ClientFrame>;

/** Reads a frame of control; `undefined` if it breaks the rules. */
export function readClientFrame(message: string): ClientFrame | undefined {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return undefined;
  }
  return schema.safeParse(value).data;
}
