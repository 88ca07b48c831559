import { z } from 'zod';

/** The version of the records that this version writes. */
export const recordVersion = 1;

const count = z.number().int().min(0);

const head = {
  v: z.literal(recordVersion).describe('version of this schema'),
  stream: z.string().describe('id of the stream, as in the log'),
  seq: count.describe('number of the record in its stream, without holes'),
  at: count.describe('when it was made, in milliseconds since 1970'),
};

/** What was kept of content: itself, or its size and digest where it was too large. */
const content = {
  data: z.string().optional().describe('the content: text, or base64; absent where `sha256` is there'),
  encoding: z.literal('base64').optional().describe('absent: `data` is text'),
  bytes: count.optional().describe('size of content that is left out'),
  sha256: z.string().optional().describe('SHA-256 of content that is left out, in hexadecimal'),
  redacted: count.optional().describe('number of places that were replaced in `data`'),
};

/** Content as a record has it: itself, or its size and digest. */
export type Content = Pick<z.infer<typeof chunks>, keyof typeof content>;

/** The first record of a stream: who asked whom. */
const begin = z.strictObject({
  ...head,
  kind: z.literal('begin'),
  requestId: z.string().optional(),
  provider: z.string(),
  api: z.string(),
  model: z.string().optional().describe('as the client named it'),
  tenant: z.string(),
  caller: z.string(),
  address: z.string(),
  agent: z.string(),
  gaveWay: z
    .array(z.string())
    .optional()
    .describe('what of the request gave way to pressure, such as `max_tokens=1000`; absent: nothing'),
  request: z
    .strictObject(content)
    .optional()
    .describe('the body of the request, only where the tap asks for it'),
});

/** The provider has answered. */
const answer = z.strictObject({
  ...head,
  kind: z.literal('answer'),
  status: count,
  headers: z.record(z.string(), z.string()),
  format: z
    .string()
    .optional()
    .describe("format of the events; absent: the answer's body is no stream of events"),
  upstreamRequestId: z.string().optional(),
  provider: z
    .string()
    .optional()
    .describe('the provider that answered; absent: the one in `begin`, which was asked first'),
});

/** A run of the answer's chunks. */
const chunks = z.strictObject({
  ...head,
  kind: z.literal('chunks'),
  from: count.describe('offset of the first chunk'),
  to: count.describe('offset behind the last chunk'),
  events: count.describe('events in `data`'),
  merged: count.optional().describe('events that were merged into those'),
  ...content,
  text: z
    .record(z.string(), z.string())
    .optional()
    .describe('with `content: text`: what was said, by its place in the events'),
  shed: z
    .array(z.string())
    .optional()
    .describe(
      'parts that were left out: because the tap lagged, and of redacted content the log probabilities',
    ),
});

/** Chunks that the tap lost by its policy. */
const gap = z.strictObject({ ...head, kind: z.literal('gap'), from: count, to: count, reason: z.string() });

/** How the stream ended. A stream without this record was interrupted. */
const end = z.strictObject({
  ...head,
  kind: z.literal('end'),
  state: z.enum(['completed', 'failed', 'cancelled']),
  code: z.string().optional(),
  reason: z.string().optional(),
  offset: count.describe('offset behind the last chunk that the provider sent'),
  events: count,
  bytes: count,
  durationMs: count,
  usage: z
    .strictObject({
      inputTokens: count.optional(),
      outputTokens: count.optional(),
      source: z.enum(['reported', 'estimated']),
    })
    .optional()
    .describe(
      'reported by the provider; or estimated: outputTokens, from the text of the answer; absent: not known',
    ),
});

/** What one reader got. Readers may come, and so their records, after the end. */
const reader = z.strictObject({
  ...head,
  kind: z.literal('reader'),
  reader: count.describe('number of the reader in its stream; 0: a request that asked for what was there'),
  via: z
    .string()
    .describe('http, session, event-source, durable-streams or realtime; part: a request for what was there'),
  address: z.string(),
  reason: z.enum(['delivered', 'failed', 'left', 'stalled']),
  code: z.string().optional(),
  delivered: count.describe('offset behind the last chunk that was written to the reader'),
  acknowledged: count
    .nullable()
    .describe('offset behind the last chunk that it acknowledged; null: it cannot say'),
  lost: count.describe('tokens that its policy dropped'),
});

/** The schema of a record, as JSON. */
export const recordSchema = z.discriminatedUnion('kind', [begin, answer, chunks, gap, end, reader]);

/**
 * What a tap writes, as JSON in UTF-8: one value for every engine. Records of one stream are numbered, and begin with
 * `begin`.
 */
export type TapRecord = z.infer<typeof recordSchema>;

/** A record without what the tap adds: version, stream, number and time. */
export type TapRecordBody = TapRecord extends infer R
  ? R extends TapRecord
    ? Omit<R, 'at' | 'seq' | 'stream' | 'v'>
    : never
  : never;

/** Reads a record of any engine. @throws {ZodError} for one that is not of this version's schema. */
export function parseRecord(value: Uint8Array): TapRecord {
  return recordSchema.parse(JSON.parse(new TextDecoder().decode(value)));
}
