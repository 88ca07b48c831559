import { parsedJson } from '@spillway/core/format/parsed-json';

/** What the log's index says of a stream beside its name and times: in clear, so that lists need no keys. */
export interface StreamIndex {
  readonly tenant: string | null;
  readonly caller: string | null;
  readonly provider: string | null;
  readonly model: string | null;
  /** The id of the request that began it, as its client got it in `x-spillway-request-id`. */
  readonly request: string | null;
  readonly state: string | null;
  readonly code: string | null;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
}

/** Whose the tokens of a stream are: the provider's own, or an estimate of what the answer has. */
export type UsageSource = 'estimated' | 'reported';

/** Reads that of the record at the end of a stream; `null`: it does not say. */
export function usageSourceOf(value: Uint8Array): UsageSource | null {
  const { source } = fieldsOf(fieldsOf(parsedJson(value))['usage']);
  return source === 'estimated' || source === 'reported' ? source : null;
}

/** What a record says of itself and of its stream. */
export interface RecordFacts {
  /** Empty: it does not say. */
  readonly kind: string;
  /** `undefined`: it does not say. */
  readonly at: number | undefined;
  readonly index: Partial<StreamIndex>;
}

/** Reads what the index needs of a record. A value that is no record of a tap is kept like any other. */
export function factsOf(value: Uint8Array): RecordFacts {
  const record = fieldsOf(parsedJson(value));
  const kind = text(record['kind']) ?? '';
  return { kind, at: whole(record['at']) ?? undefined, index: indexOf(kind, record) };
}

function indexOf(kind: string, record: Fields): Partial<StreamIndex> {
  if (kind === 'begin')
    return {
      tenant: text(record['tenant']),
      caller: text(record['caller']),
      provider: text(record['provider']),
      model: text(record['model']),
      request: text(record['requestId']),
    };
  if (kind !== 'end') return {};
  const usage = fieldsOf(record['usage']);
  return {
    state: text(record['state']),
    code: text(record['code']),
    inputTokens: whole(usage['inputTokens']),
    outputTokens: whole(usage['outputTokens']),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function whole(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : null;
}
