import { parsedJson } from '@spillway/core/format/parsed-json';
import { GatewayError } from '@spillway/server/errors';

/** An error that a provider reported in an answer with a status of success: in an event, or as the whole body. */
export class ReportedError extends GatewayError {
  /** Whether it says that the fault is its own. What is not known is none: a client's request may be wrong. */
  readonly isProvidersFault: boolean;

  /** `data`: what the provider said, as JSON; `undefined`: it is not known. Nothing of it gets into the message. */
  constructor(message: string, data: Uint8Array | undefined) {
    const status = data && statedStatus(parsedJson(data));
    super('upstream_reported', message, status === undefined ? {} : { status });
    this.isProvidersFault = status !== undefined && status >= 500;
  }
}

/**
 * The error that a whole body of JSON with a status of success is, or that it is empty; `undefined`: it is an answer. `plain`: the
 * body with its coding undone, empty where that is not known.
 */
export function errorIn(body: Uint8Array, plain: Buffer): GatewayError | undefined {
  if (plain.some((byte) => byte > SPACE)) return reportedIn(plain);
  if (plain.length === 0 && body.length > 0) return undefined;
  return emptyBody();
}

/** The error that an answer without a body is, where there has to be one. */
export function emptyBody(): GatewayError {
  return new GatewayError('upstream_invalid', 'The provider answered with an empty body: expected JSON.');
}

const SPACE = 0x20;

/** The error that a whole body of JSON with a status of success is; `undefined`: it is none. */
function reportedIn(body: Buffer): ReportedError | undefined {
  if (!body.includes('"error"')) return undefined;
  const { error, object, type } = firstIn(parsedJson(body));
  const isError = Boolean(error) || object === 'error' || type === 'error';
  if (!isError) return undefined;
  return new ReportedError('The provider answered with an error, and with a status of success.', body);
}

/** The members of an object, or of the first in a list, which is Gemini's way. */
function firstIn(payload: unknown): Readonly<Record<string, unknown>> {
  const first: unknown = Array.isArray(payload) ? payload[0] : payload;
  return typeof first === 'object' && first !== null ? (first as Record<string, unknown>) : {};
}

/**
 * The status that an error would have had as an answer of its own: its number, or that of its code, status or type. `undefined`: it
 * has none that is known.
 */
function statedStatus(payload: unknown): number | undefined {
  const outer = firstIn(payload);
  const inner = firstIn(outer['error'] ?? firstIn(outer['response'])['error'] ?? outer);
  const words = [inner['code'], inner['status'], inner['status_code'], inner['type'], outer['code']];
  const number = words.map(Number).find((value) => value >= 400 && value < 600);
  return number ?? words.map(statusOf).find((status) => status !== undefined);
}

/** The word as some write it with spaces, capitals or underscores, and others without. */
function statusOf(word: unknown): number | undefined {
  return typeof word === 'string' ? statuses.get(word.toLowerCase().replaceAll(/[^a-z]/g, '')) : undefined;
}

/**
 * The words of OpenAI (https://platform.openai.com/docs/guides/error-codes), Anthropic (https://docs.anthropic.com/en/api/errors) and
 * Google (https://cloud.google.com/apis/design/errors) for what is wrong with the provider, or too much for it, and those of servers
 * that took their APIs over.
 */
const statuses: ReadonlyMap<string, number> = new Map(
  Object.entries({
    429: [
      'ratelimit',
      'ratelimited',
      'ratelimiterror',
      'ratelimitexceeded',
      'toomanyrequests',
      'resourceexhausted',
      'insufficientquota',
    ],
    500: [
      'apierror',
      'dataloss',
      'internal',
      'internalerror',
      'internalservererror',
      'servererror',
      'unknown',
    ],
    503: [
      'engineoverloaded',
      'overloaded',
      'serveroverloaded',
      'serviceunavailable',
      'serviceunavailableerror',
      'unavailable',
    ],
    504: ['deadlineexceeded', 'gatewaytimeout', 'timeout', 'timeouterror', 'vectorstoretimeout'],
    529: ['overloadederror'],
  }).flatMap(([status, words]) => words.map((word): [string, number] => [word, Number(status)])),
);
