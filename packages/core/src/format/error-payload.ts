import { createByteSearch } from './byte-search.ts';
import { endOfString, forEachKey, isSpace, isText } from './json-keys.ts';
import type { ClassifyPayload, PayloadKind } from './sse.ts';

/**
 * Returns a function that finds errors in payloads, in any format's shape: a provider or a proxy before it may report
 * errors in another provider's shape. An `error` that is not `null`, `false`, 0 or an empty text is an error. So is
 * `error` as the `type` or the `object`, also in a list (Gemini's way). A `message`, a `detail` or `errors` is a
 * complaint, unless the payload has `ownKey`, which all of the format's own events have.
 */
export function classifyErrors(ownKey?: string): ClassifyPayload {
  const own = ownKey === undefined ? undefined : encoder.encode(ownKey);
  const hasOwn = ownKey === undefined ? () => false : createByteSearch(`"${ownKey}"`);
  return (bytes, start, end) => {
    // Nearly every payload ends here. The searched keys cannot stand inside a string, where quotes are escaped.
    if (hasOwn(bytes, start, end) && !hasError(bytes, start, end)) return 'content';
    return errorKind(bytes, start, end, own);
  };
}

function errorKind(
  bytes: Uint8Array,
  start: number,
  end: number,
  ownKey: Uint8Array | undefined,
): PayloadKind {
  let isOwn = false;
  let isComplaint = false;
  let isError = false;
  let first = start;
  while (isSpace(bytes[first]) && first < end) first += 1;
  const keyDepth = bytes[first] === OPEN_LIST ? 2 : 1;
  forEachKey(bytes, first, end, (keyStart, keyEnd, depth, value) => {
    if (depth !== keyDepth) return false;
    const isKey = (name: Uint8Array): boolean => isText(bytes, keyStart, keyEnd, name);
    if (ownKey !== undefined && isKey(ownKey)) {
      isOwn = true;
    } else if (isKey(ERROR)) {
      isError = !saysNothing(bytes, value);
    } else if (isKey(OBJECT) || isKey(TYPE)) {
      isError = bytes[value] === QUOTE && isText(bytes, value + 1, endOfString(bytes, value + 1, end), ERROR);
    } else if (isKey(MESSAGE)) {
      // A `message` that is an object is part of a reply.
      isComplaint ||= bytes[value] === QUOTE && saysSomething(bytes, value);
    } else if (isKey(DETAIL) || isKey(ERRORS)) {
      isComplaint ||= saysSomething(bytes, value);
    }
    return isError;
  });
  if (isError) return 'error';
  return isComplaint && !isOwn ? 'complaint' : 'content';
}

/** Whether a value is `null`, `false`, 0 or an empty text, which official SDKs take for no error. */
function saysNothing(bytes: Uint8Array, value: number): boolean {
  switch (bytes[value]) {
    case QUOTE:
      return bytes[value + 1] === QUOTE;
    case FIRST_OF_FALSE:
    case FIRST_OF_NULL:
    case ZERO:
    case undefined:
      return true;
    default:
      return false;
  }
}

/** Whether a value is a text, a list or an object, and no empty text or list. */
function saysSomething(bytes: Uint8Array, value: number): boolean {
  switch (bytes[value]) {
    case QUOTE:
      return bytes[value + 1] !== QUOTE;
    case OPEN_LIST: {
      let first = value + 1;
      while (isSpace(bytes[first])) first += 1;
      return bytes[first] !== CLOSE_LIST;
    }
    default:
      return bytes[value] === OPEN_OBJECT;
  }
}

const encoder = new TextEncoder();
const hasError = createByteSearch('"error"');
const DETAIL = encoder.encode('detail');
const ERROR = encoder.encode('error');
const ERRORS = encoder.encode('errors');
const MESSAGE = encoder.encode('message');
const OBJECT = encoder.encode('object');
const TYPE = encoder.encode('type');
const QUOTE = 0x22;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const FIRST_OF_FALSE = 0x66;
const FIRST_OF_NULL = 0x6e;
const ZERO = 0x30;
