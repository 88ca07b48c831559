/** The longest description of one model, in bytes. */
const maxModelBytes = 65_536;
/** The most models of one provider. */
const maxModels = 10_000;

/**
 * Reads the models in the body of a provider's list (`{"data": [{"id": …}, …]}`), and puts a prefix before
 * their ids. The result is JSON objects with commas between them. They are parsed one at a time, because a
 * list of megabytes can be millions of values.
 *
 * `undefined` for anything else, and for a list with more than 10,000 models or a model with more than 64
 * KiB.
 */
export function readModels(body: Buffer, prefix: string): Buffer | undefined {
  const listStart = startOfList(body, 'data');
  if (listStart === undefined) return undefined;
  const models: string[] = [];
  let at = skipSpace(body, listStart);
  while (body[at] !== CLOSE_LIST || models.length > 0) {
    const end = endOfObject(body, at);
    const model = end === undefined ? undefined : withPrefix(body.toString('utf8', at, end), prefix);
    if (end === undefined || model === undefined || models.push(model) > maxModels) return undefined;
    at = skipSpace(body, end);
    if (body[at] === CLOSE_LIST) break;
    if (body[at] !== COMMA) return undefined;
    at = skipSpace(body, at + 1);
  }
  return Buffer.from(models.join(','));
}

/**
 * Returns the models of a list of {@link readModels} that have a name, each by it: `nameOf` gets a model's id. Takes the time
 * of the list's length.
 */
export function renameModels(list: Buffer, nameOf: (id: string) => string | undefined): Buffer {
  const models: string[] = [];
  let at = 0;
  while (at < list.length) {
    const end = endOfObject(list, at, list.length);
    if (end === undefined) break;
    const model = JSON.parse(list.toString('utf8', at, end)) as { readonly id: string };
    const name = nameOf(model.id);
    if (name !== undefined) models.push(JSON.stringify({ ...model, id: name }));
    // A comma follows.
    at = end + 1;
  }
  return Buffer.from(models.join(','));
}

function withPrefix(text: string, prefix: string): string | undefined {
  try {
    const model = JSON.parse(text) as { readonly id?: unknown };
    return typeof model.id === 'string' ? JSON.stringify({ ...model, id: prefix + model.id }) : undefined;
  } catch {
    // The text is no JSON.
    return undefined;
  }
}

/**
 * A body with further models at the beginning of its list, in pieces; `undefined`: it has no such list in the object that it is.
 * `more`: JSON objects with commas between them.
 */
export function withModels(body: Buffer, member: 'data' | 'models', more: Buffer): Buffer[] | undefined {
  const start = startOfList(body, member);
  if (start === undefined) return undefined;
  const isAlone = body[skipSpace(body, start)] === CLOSE_LIST;
  return [body.subarray(0, start), more, Buffer.from(isAlone ? '' : ','), body.subarray(start)];
}

/** The offset of the first value in a list of the top level; `undefined`: there is no such list. */
function startOfList(body: Buffer, member: 'data' | 'models'): number | undefined {
  let depth = 0;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1;
    if (byte !== QUOTE) continue;
    const end = endOfString(body, at);
    const colon = skipSpace(body, end);
    const isList = depth === 1 && body[colon] === COLON && body.toString('latin1', at, end) === `"${member}"`;
    const value = skipSpace(body, colon + 1);
    if (isList) return body[0] !== OPEN_LIST && body[value] === OPEN_LIST ? value + 1 : undefined;
    at = end - 1;
  }
  return undefined;
}

/**
 * The offset after the object that begins at `start`; `undefined` if no object begins there, or if it is too
 * long.
 */
function endOfObject(body: Buffer, start: number, maxBytes = maxModelBytes): number | undefined {
  if (body[start] !== OPEN_OBJECT) return undefined;
  const limit = Math.min(body.length, start + maxBytes);
  let depth = 0;
  for (let at = start; at < limit; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) at = endOfString(body, at) - 1;
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1;
    if (depth === 0) return at + 1;
  }
  return undefined;
}

/** The offset after the string whose opening quote is at `start`. */
function endOfString(body: Buffer, start: number): number {
  let at = start + 1;
  while (at < body.length && body[at] !== QUOTE) at += body[at] === BACKSLASH ? 2 : 1;
  return at + 1;
}

function skipSpace(body: Buffer, start: number): number {
  let at = start;
  while (body[at] === 0x20 || body[at] === 0x0a || body[at] === 0x0d || body[at] === 0x09) at += 1;
  return at;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
