import { GatewayError } from './errors.ts';
import { type ByteRange, kindOfJson } from './http/body-scanner.ts';
import type { ReceivedBody } from './http/received-body.ts';

/** The longest name of a model, in characters. */
const maxModelLength = 512;
/** As JSON, all of it escaped. What is longer is not looked at. */
const maxValueBytes = 6 * maxModelLength + 2;

/** A JSON body, as far as the gateway reads it; the rest is the provider's business. */
export interface RequestBody {
  readonly model: string;
  /** Whether it asks for events. */
  readonly stream: boolean;
  /** The same body with another model, and every other byte as it was. */
  withModel(model: string): Buffer[];
}

/**
 * Reads the body of a request whose format is known.
 *
 * @throws {GatewayError} `invalid_request`
 */
export function readRequestBody(body: ReceivedBody | null): RequestBody {
  if (body === null) {
    throw new GatewayError('invalid_request', 'The body: expected a JSON object, got nothing.');
  }
  const named = body.namedValues();
  const model = valueAt(body, named.model);
  if (
    typeof model !== 'string' ||
    model === '' ||
    model.length > maxModelLength ||
    named.model === undefined
  ) {
    throw new GatewayError(
      'invalid_request',
      `model: expected a string of 1 to ${maxModelLength} characters, got ${kindAt(body, named.model, model)}.`,
    );
  }
  const stream = valueAt(body, named.stream);
  if (named.stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new GatewayError(
      'invalid_request',
      `stream: expected a boolean, got ${kindAt(body, named.stream, stream)}.`,
    );
  }
  const { start, end } = named.model;
  return {
    model,
    stream: stream === true,
    withModel: (name) => [
      ...body.parts({ start: 0, end: start }),
      Buffer.from(JSON.stringify(name)),
      ...body.parts({ start: end, end: body.byteLength }),
    ],
  };
}

/** The same where nothing is known of the format: `undefined` if it is no such body. */
export function tryRequestBody(body: ReceivedBody | null): RequestBody | undefined {
  try {
    return readRequestBody(body);
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/** The value that stands there; `undefined`: none, or one that is too long to be a name or a boolean. */
function valueAt(body: ReceivedBody, range: ByteRange | undefined): unknown {
  if (range === undefined || range.end - range.start > maxValueBytes) return undefined;
  try {
    return JSON.parse(Buffer.concat(body.parts(range)).toString('utf8')) as unknown;
  } catch (error) {
    // The parser's message would quote the prompt.
    throw new GatewayError('invalid_request', 'The body is not valid JSON.', { cause: error });
  }
}

function kindAt(body: ReceivedBody, range: ByteRange | undefined, value: unknown): string {
  if (range === undefined) return 'nothing';
  if (typeof value === 'string') return `a string of ${value.length} characters`;
  return kindOfJson(body.parts(range)[0]?.[0]) ?? 'something else';
}
