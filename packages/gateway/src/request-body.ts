import { GatewayError } from './errors.ts';

/** The longest name of a model, in characters. */
const maxModelLength = 512;

/** A JSON body, as far as the gateway reads it; the rest is the provider's business. */
export interface RequestBody {
  readonly model: string;
  /** Whether it asks for events. */
  readonly stream: boolean;
  /** The same body with another model and everything else as it was, large numbers included. */
  withModel(model: string): Buffer;
}

/**
 * Reads the body of a request whose format is known.
 *
 * @throws {GatewayError} `invalid_request`
 */
export function readRequestBody(bytes: Buffer | null): RequestBody {
  if (bytes === null) {
    throw new GatewayError('invalid_request', 'The body: expected a JSON object, got nothing.');
  }
  const text = bytes.toString('utf8');
  const request = parseObject(text);
  const { model, stream } = request;
  if (typeof model !== 'string' || model === '' || model.length > maxModelLength) {
    throw new GatewayError(
      'invalid_request',
      `model: expected a string of 1 to ${maxModelLength} characters, got ${kindOf(model)}.`,
    );
  }
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new GatewayError('invalid_request', `stream: expected a boolean, got ${kindOf(stream)}.`);
  }
  return { model, stream: stream === true, withModel: (name) => withModel(text, request, name) };
}

/** The same where nothing is known of the format: `undefined` if it is no such body. */
export function tryRequestBody(bytes: Buffer | null): RequestBody | undefined {
  try {
    return readRequestBody(bytes);
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // The parser's message would quote the prompt.
    throw new GatewayError('invalid_request', 'The body is not valid JSON.', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new GatewayError('invalid_request', `The body: expected a JSON object, got ${kindOf(value)}.`);
  }
  return value as Record<string, unknown>;
}

function withModel(text: string, request: Record<string, unknown>, model: string): Buffer {
  // A double holds 15 digits for sure; a 64-bit seed has more. Looking is cheaper than a reviver.
  const exact = /\d{16}/.test(text) ? sourceText.parse(text, keepNumber) : request;
  return Buffer.from(JSON.stringify({ ...exact, model }));
}

/** The part of ECMAScript's "JSON.parse source text access" that TypeScript does not declare yet. */
const sourceText = JSON as unknown as {
  parse(text: string, reviver: typeof keepNumber): Record<string, unknown>;
  rawJSON(text: string): object;
};

function keepNumber(_key: string, value: unknown, context: { readonly source?: string }): unknown {
  return typeof value === 'number' && context.source !== undefined
    ? sourceText.rawJSON(context.source)
    : value;
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'string') return `a string of ${value.length} characters`;
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}
