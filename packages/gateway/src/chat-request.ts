import type { Provider } from './config/load.ts';
import { GatewayError } from './errors.ts';

/** What the gateway needs to know of a request; the rest is the provider's business. */
export interface ChatRequest {
  readonly provider: Provider;
  /** The model as the client named it, for logs. */
  readonly model: string;
  readonly wantsEvents: boolean;
  /** The client's own bytes, unless the model's prefix had to go. */
  readonly body: Buffer;
}

/**
 * Reads a Chat Completions request as far as it is needed: which provider, and whether events are
 * wanted.
 *
 * @throws {GatewayError} `invalid_request`
 */
export function readChatRequest(body: Buffer, providers: readonly Provider[]): ChatRequest {
  const text = body.toString('utf8');
  const request = parseObject(text);
  const { model, stream } = request;
  if (typeof model !== 'string' || model === '' || model.length > 512) {
    throw new GatewayError(
      'invalid_request',
      `model: expected a string of 1 to 512 characters, got ${kindOf(model)}.`,
    );
  }
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    throw new GatewayError('invalid_request', `stream: expected a boolean, got ${kindOf(stream)}.`);
  }
  const [fallback] = providers;
  if (fallback === undefined) throw new Error('a gateway has at least one provider');
  const slash = model.indexOf('/');
  const prefixed = slash === -1 ? undefined : providers.find(({ name }) => name === model.slice(0, slash));
  return {
    provider: prefixed ?? fallback,
    model,
    wantsEvents: stream === true,
    body: prefixed === undefined ? body : withModel(text, request, model.slice(slash + 1)),
  };
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

/** Writes the request with another model and everything else as it was, large numbers included. */
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
