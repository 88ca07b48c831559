import { GatewayError } from '@spillway/server/errors';
import { type ByteRange, BodyScanner, noJson, NoJsonError, type Scanner } from './body-scanner.ts';
import { boundaryOf, FormScanner } from './form-scanner.ts';
import type { ReceivedBody } from './received-body.ts';
import type { Route } from './route.ts';

/** The longest name of a model, in characters. */
const maxModelLength = 512;
/** As JSON, all of it escaped. What is longer is not looked at. */
const maxValueBytes = 6 * maxModelLength + 2;

/** A body, as far as the gateway reads it; the rest is the provider's business. */
export interface RequestBody {
  /** `undefined`: it names none that is a text. */
  readonly model: string | undefined;
  /** Whether it asks for events. */
  readonly stream: boolean;
  /** The same body without the first characters of its model, and every other byte as it was. */
  withoutPrefix(length: number): Buffer[];
}

/** Finds the model of a request's body; `undefined` where no body names one, as with Gemini, whose paths do. */
export function openScanner({ api, format }: Route, contentType = ''): Scanner | undefined {
  if (api === 'gemini') return undefined;
  const boundary = boundaryOf(contentType);
  if (boundary !== undefined) return new FormScanner(boundary);
  const isKnown = format !== undefined || api === 'ollama';
  return isKnown || mayBeJson(contentType) ? new BodyScanner() : undefined;
}

/** Whether a content type says that there is JSON. */
export function isJson(contentType = ''): boolean {
  return /^(?:application|text)\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(contentType);
}

/** Some servers take JSON whatever the type says: their users write `curl -d '{…}'`, which says that it is a form. */
function mayBeJson(contentType: string): boolean {
  return (
    isJson(contentType) || contentType === '' || /^application\/x-www-form-urlencoded\b/i.test(contentType)
  );
}

/**
 * Reads the model of a body.
 *
 * @throws {NoJsonError} if it should be a JSON object and is not.
 * @throws {GatewayError} `invalid_request` if it is a form or an object, and it cannot be known which model it names.
 */
export function readRequestBody(body: ReceivedBody): RequestBody | undefined {
  const named = body.namedValues();
  if (named === undefined) return undefined;
  const { isJson: hasJson, stream } = named;
  const model = hasJson ? stringAt(body, named.model) : textAt(body, named.model);
  if (model !== undefined && model.length > maxModelLength) throw modelTooLong();
  return {
    model,
    // Other spellings of it are the provider's to understand: its answer tells.
    stream: stream !== undefined && Buffer.concat(body.parts(stream)).equals(literalTrue),
    withoutPrefix: (length) => {
      const { start, end } = named.model ?? { start: 0, end: 0 };
      if (!hasJson) return [...body.parts({ start: 0, end: start }), ...partsFrom(body, start + length)];
      const rest = Buffer.from(JSON.stringify(model?.slice(length) ?? null));
      return [...body.parts({ start: 0, end: start }), rest, ...partsFrom(body, end)];
    },
  };
}

/** The same where the body may be anything: `undefined` if it is no JSON object. */
export function tryRequestBody(body: ReceivedBody): RequestBody | undefined {
  try {
    return readRequestBody(body);
  } catch (error) {
    if (error instanceof NoJsonError) return undefined;
    throw error;
  }
}

function partsFrom(body: ReceivedBody, start: number): Buffer[] {
  return body.parts({ start, end: body.byteLength });
}

/** The text that stands there, if it is not far too long to be a name. */
function textAt(body: ReceivedBody, range: ByteRange | undefined): string | undefined {
  if (range === undefined) return undefined;
  if (range.end - range.start > maxValueBytes) throw modelTooLong();
  return Buffer.concat(body.parts(range)).toString('utf8');
}

/** The string that stands there as JSON; `undefined`: some other value. */
function stringAt(body: ReceivedBody, range: ByteRange | undefined): string | undefined {
  if (range === undefined || body.parts(range)[0]?.[0] !== QUOTE) return undefined;
  try {
    return JSON.parse(textAt(body, range) ?? '') as string;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    // The parser's message would quote the prompt.
    throw new NoJsonError(noJson, { cause: error });
  }
}

function modelTooLong(): GatewayError {
  return new GatewayError(
    'invalid_request',
    `model: expected at most ${maxModelLength} characters, got more.`,
  );
}

const literalTrue = Buffer.from('true');
const QUOTE = 0x22;
