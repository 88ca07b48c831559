import { GatewayError } from '@spillway/server/errors';
import { type ByteRange, BodyScanner, noJson, NoJsonError, type Scanner } from './body-scanner.ts';
import { boundaryOf, FormScanner } from './form-scanner.ts';
import type { ReceivedBody } from './received-body.ts';
import type { Route } from './route.ts';

/** The longest name of a model, in characters. */
const maxModelLength = 512;
/** The longest model as a JSON string, with every character escaped. A longer value is not read. */
const maxValueBytes = 6 * maxModelLength + 2;

/** A body, as far as the gateway reads it. The rest is left to the provider. */
export interface RequestBody {
  /** Whether it is a JSON object. If not, it is a form. */
  readonly isJson: boolean;
  /** The model's name; `undefined`: the body has none that is a string. */
  readonly model: string | undefined;
  /** Whether the body asks for an event stream. */
  readonly stream: boolean;
  /**
   * The text or number at a path of names in a JSON body, as text; `undefined`: nothing else stands there, or its member
   * of the top level was not asked for.
   *
   * @throws {GatewayError} `invalid_request` if that member is longer than 256 KiB, so that what it says would not count.
   */
  textAt(path: readonly string[]): string | undefined;
  /** The same body with another model's name. Every other byte stays as it was. To be called only where it names one. */
  withModel(name: string): Buffer[];
}

/**
 * Opens a scanner for the model of a request's body, and for `others` of its members; `undefined` where no body names
 * one. Gemini's paths name it: its bodies are scanned for `others` alone.
 */
export function openScanner(
  { api, format }: Route,
  contentType = '',
  others: readonly string[] = [],
): Scanner | undefined {
  if (api === 'gemini') return others.length === 0 ? undefined : new BodyScanner(others);
  const boundary = boundaryOf(contentType);
  if (boundary !== undefined) return new FormScanner(boundary);
  const isKnown = format !== undefined || api === 'ollama';
  return isKnown || mayBeJson(contentType) ? new BodyScanner(others) : undefined;
}

const noNames: readonly string[] = [];

/** The names of the top level on the way to members. */
export function firstNames(members: readonly (readonly string[])[]): readonly string[] {
  if (members.length === 0) return noNames;
  const names = members.map(([first = '']) => first);
  return [...new Set(names)].filter((name) => name !== 'model' && name !== 'stream');
}

/** Whether a content type is JSON. */
export function isJson(contentType = ''): boolean {
  return /^(?:application|text)\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(contentType);
}

/**
 * Whether a body may be JSON. Some servers accept JSON with any type: their users write `curl -d '{…}'`,
 * which says that the body is a form.
 */
function mayBeJson(contentType: string): boolean {
  return (
    isJson(contentType) || contentType === '' || /^application\/x-www-form-urlencoded\b/i.test(contentType)
  );
}

/**
 * Reads the model of a body.
 *
 * @throws {NoJsonError} if the body should be a JSON object and is not.
 * @throws {GatewayError} `invalid_request` if the body is a form or an object, and it is ambiguous which
 *   model it names.
 */
export function readRequestBody(body: ReceivedBody): RequestBody | undefined {
  const named = body.namedValues();
  if (named === undefined) return undefined;
  const { isJson: hasJson, stream } = named;
  const model = hasJson ? stringAt(body, named.model) : textAt(body, named.model);
  if (model !== undefined && model.length > maxModelLength) throw modelTooLong();
  return {
    isJson: hasJson,
    model,
    // Other spellings of `true` are left to the provider: its answer shows whether it streams.
    stream: stream !== undefined && Buffer.concat(body.parts(stream)).equals(literalTrue),
    textAt: ([first = '', ...rest]) => memberText(body, first, named.others?.get(first), rest),
    withModel: (name) => {
      const { start, end } = named.model ?? { start: 0, end: 0 };
      const written = Buffer.from(hasJson ? JSON.stringify(name) : name);
      return [...body.parts({ start: 0, end: start }), written, ...partsFrom(body, end)];
    },
  };
}

/** {@link readRequestBody} for a body that may be anything: `undefined` if it is no JSON object. */
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

/**
 * The text in a range of the body.
 *
 * @throws {GatewayError} `invalid_request` if it is too long for a model's name.
 */
function textAt(body: ReceivedBody, range: ByteRange | undefined): string | undefined {
  if (range === undefined) return undefined;
  if (range.end - range.start > maxValueBytes) throw modelTooLong();
  return Buffer.concat(body.parts(range)).toString('utf8');
}

/** The longest member of the top level that is read for a name or a number in it. None that people write is as long. */
const maxMemberBytes = 262_144;

/** The text or number at a path below the JSON value in a range of the body. */
function memberText(
  body: ReceivedBody,
  member: string,
  range: ByteRange | undefined,
  path: readonly string[],
): string | undefined {
  // A list has no names, however long it is.
  if (range === undefined || body.parts(range)[0]?.[0] === OPEN_LIST) return undefined;
  if (range.end - range.start > maxMemberBytes) throw memberTooLong(member, range);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(body.parts(range)).toString('utf8'));
  } catch {
    return undefined;
  }
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

/** The JSON string in a range of the body; `undefined`: another kind of value. */
function stringAt(body: ReceivedBody, range: ByteRange | undefined): string | undefined {
  if (range === undefined || body.parts(range)[0]?.[0] !== QUOTE) return undefined;
  try {
    return JSON.parse(textAt(body, range) ?? '') as string;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    // The parser's own message would quote the prompt.
    throw new NoJsonError(noJson, { cause: error });
  }
}

function modelTooLong(): GatewayError {
  return new GatewayError(
    'invalid_request',
    `model: expected at most ${maxModelLength} characters, got more.`,
  );
}

function memberTooLong(name: string, { end, start }: ByteRange): GatewayError {
  const message = `${name}: expected at most ${maxMemberBytes} bytes, got ${end - start}. Limits read it, and a longer one is not read.`;
  return new GatewayError('invalid_request', message);
}

const literalTrue = Buffer.from('true');
const QUOTE = 0x22;
const OPEN_LIST = 0x5b;
