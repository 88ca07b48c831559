import { GatewayError } from '@spillway/server/errors';
import {
  type ByteRange,
  BodyScanner,
  noJson,
  NoJsonError,
  ownNames,
  type ScannedObject,
  type Scanner,
} from './body-scanner.ts';
import { type BodyEdit, editBody, isObject, objectAt, valueIn } from './edit-body.ts';
import { filledItems } from './list-items.ts';
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
   * The text, number or truth at a path of names in a JSON body, as text; `undefined`: nothing else stands there, or its member
   * of the top level was not asked for.
   *
   * @throws {GatewayError} `invalid_request` if that member is longer than 256 KiB, so that what it says would not count.
   */
  textAt(path: readonly string[]): string | undefined;
  /**
   * The values at a path of names in a JSON body, in their order: several where a name on it is there several times, and none where
   * nothing is. Each is as {@link valueIn} reads it. Every name has to be one that was asked for of the top level.
   *
   * @throws {TooLongError} if something on the way is an object of more than 4 MiB.
   * @throws {GatewayError} `invalid_request` if one of the names is there more than eight times in an object.
   */
  valuesAt(path: readonly string[]): readonly unknown[];
  /**
   * How many texts, lists and objects the list has that is a member of the top level; 0: it is no list, has nothing but numbers, or
   * was not asked for.
   */
  itemsOf(name: string): number;
  /**
   * The same body with edits, in pieces. Every other byte stays as it was, and is not copied. Of a form, the one edit is that of its
   * model to another text.
   *
   * @throws {GatewayError} `invalid_request` if it is ambiguous which member is meant.
   * @throws {TypeError} if a member of the top level was not asked for, and for any other edit of a form.
   */
  with(edits: readonly BodyEdit[]): Buffer[];
}

/** Whether a path of Gemini's is one of embeddings. */
function isEmbedding(path: string): boolean {
  return /:(?:embedContent|batchEmbedContents)$/.test(path);
}

/** The edits that give a body of Gemini's another model, where it repeats the one of its path. */
export function geminiModelEdits(
  { path }: Pick<Route, 'path'>,
  read: Pick<RequestBody, 'isJson' | 'model'> | undefined,
  model: string,
): BodyEdit[] {
  if (read?.isJson !== true || !isEmbedding(path)) return [];
  const value = model.includes('/') ? model : `models/${model}`;
  return [
    ...(read.model === undefined ? [] : [modelEdit(value)]),
    { path: ['requests', '*', 'model'], value },
  ];
}

/** The edit that gives a body another model. */
export function modelEdit(model: string): BodyEdit {
  return { path: ['model'], value: model };
}

/** Whether bodies of a path name the model inside of `session`: those that ask for the key of a realtime conversation. */
function isOfSession(path: string): boolean {
  return path === '/v1/realtime/client_secrets';
}

/** The model that a body names, and the edit that names another one there; `undefined`: it names none. */
export function namedModel(
  { path }: Pick<Route, 'path'>,
  read: RequestBody | undefined,
): { readonly model: string; readonly edit: (model: string) => BodyEdit } | undefined {
  if (read?.model !== undefined) return { model: read.model, edit: modelEdit };
  const model = isOfSession(path) ? read?.textAt(['session', 'model']) : undefined;
  return model === undefined
    ? undefined
    : { model, edit: (value) => ({ path: ['session', 'model'], value }) };
}

/**
 * Opens a scanner for the model of a request's body, for `others` of its members, and for those that are `optional`: one of them
 * that comes twice is left alone. `undefined` where no body names a model. Gemini's paths name it: its bodies are scanned for the
 * rest alone, but those of embeddings, which repeat it.
 */
export function openScanner(
  { api, format, path }: Pick<Route, 'api' | 'format' | 'path'>,
  contentType = '',
  others: readonly string[] = noNames,
  optional: readonly string[] = noNames,
): Scanner | undefined {
  const isRepeated = api === 'gemini' && isEmbedding(path);
  const ofPath = isRepeated ? ['requests'] : isOfSession(path) ? ['session'] : noNames;
  // Several prompts have several answers. Two lists of them are refused: nobody could tell which one is answered.
  const asked = others.length > 0 && format?.name === 'openai-completions' ? [...others, promptName] : others;
  const isMore = asked.length + optional.length + ofPath.length > 0;
  if (api === 'gemini' && !isMore) return undefined;
  const boundary = api === 'gemini' ? undefined : boundaryOf(contentType);
  if (boundary !== undefined) return new FormScanner(boundary);
  const isKnown = format !== undefined || api === 'gemini' || api === 'ollama';
  if (!isKnown && !mayBeJson(contentType)) return undefined;
  if (!isMore) return new BodyScanner();
  const names = new Set([...ownNames, ...asked]);
  const rest = [...optional, ...ofPath].filter((name) => !names.has(name));
  return new BodyScanner({ names: [...names, ...rest], optional: rest });
}

/** The member of a body of Completions that is a prompt, or a list of them. */
export const promptName = 'prompt';
const noNames: readonly string[] = [];

/** The names of the top level on the way to members, without those that are looked for in every body. */
export function firstNames(members: readonly (readonly string[])[]): readonly string[] {
  if (members.length === 0) return noNames;
  return [...new Set(members.map(([first = '']) => first))].filter((name) => !ownNames.includes(name));
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
  const { object, stream } = named;
  const model = object === undefined ? textAt(body, named.model) : stringAt(body, named.model);
  if (model !== undefined && model.length > maxModelLength) throw modelTooLong();
  const rangeOf = (name: string): ByteRange | undefined => object?.members.get(name);
  const inner = new Map<number, ScannedObject>();
  const membersAt = (
    within: ScannedObject,
    [name = '', ...rest]: readonly string[],
  ): readonly ByteRange[] => {
    const member = within.members.get(name);
    const own = within.doubled.get(name) ?? (member === undefined ? [] : [member]);
    if (rest.length === 0) return own;
    return own
      .filter((range) => isObject(body, range))
      .flatMap((range) => {
        const found = inner.get(range.start) ?? scanInner(body, name, range, within.names);
        inner.set(range.start, found);
        return membersAt(found, rest);
      });
  };
  return {
    isJson: object !== undefined,
    model,
    // Other spellings of `true` are left to the provider: its answer shows whether it streams.
    stream: stream !== undefined && Buffer.concat(body.parts(stream)).equals(literalTrue),
    textAt: ([first = '', ...rest]) => {
      const range = rangeOf(first);
      // A list has no names, however long it is.
      if (range === undefined || body.parts(range)[0]?.[0] === OPEN_LIST) return undefined;
      const value = memberValue(body, first, range, rest);
      return ['boolean', 'number', 'string'].includes(typeof value) ? String(value) : undefined;
    },
    itemsOf: (name) => {
      const range = rangeOf(name);
      return range === undefined ? 0 : filledItems(body.parts(range));
    },
    valuesAt: (path) =>
      object === undefined ? [] : membersAt(object, path).map((range) => valueIn(body, range)),
    with: (edits) =>
      object === undefined ? editForm(body, named.model, edits) : editBody(body, object, edits),
  };
}

/** What is too long to look for something in it. */
export class TooLongError extends GatewayError {}

/** The largest object that is searched for what is inside of it. */
const maxInnerBytes = 4_194_304;

function scanInner(
  body: ReceivedBody,
  name: string,
  range: ByteRange,
  names: readonly string[],
): ScannedObject {
  const bytes = range.end - range.start;
  if (bytes > maxInnerBytes)
    throw new TooLongError(
      'invalid_request',
      `${name}: expected at most ${maxInnerBytes} bytes, got ${bytes}.`,
    );
  return objectAt(body, range, names, names);
}

/** The pieces of a form with another model. */
function editForm(body: ReceivedBody, model: ByteRange | undefined, edits: readonly BodyEdit[]): Buffer[] {
  if (edits.length === 0) return body.parts();
  const text = edits.at(-1)?.value;
  const isOfModel = edits.every(({ path }) => path.length === 1 && path[0] === 'model');
  if (model === undefined || !isOfModel || typeof text !== 'string')
    throw new TypeError('of a form, only its model can be changed, to another text');
  const [before, behind] = [
    { start: 0, end: model.start },
    { start: model.end, end: body.byteLength },
  ];
  return [...body.parts(before), Buffer.from(text), ...body.parts(behind)];
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

/** The value at a path below the JSON value in a range of the body; `undefined`: none is there. */
function memberValue(body: ReceivedBody, member: string, range: ByteRange, path: readonly string[]): unknown {
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
  return value;
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
