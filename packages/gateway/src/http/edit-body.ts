import { GatewayError } from '@spillway/server/errors';
import { type ByteRange, BodyScanner, type Member, type ScannedObject, severalOf } from './body-scanner.ts';
import type { ReceivedBody } from './received-body.ts';

/** What JSON can say. */
export type JsonValue =
  | boolean
  | number
  | string
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/**
 * One change of a JSON object: the member at a path of names gets a value, or is removed.
 *
 * @example
 * { path: ['generationConfig', 'maxOutputTokens'], value: 1000 }
 */
export interface BodyEdit {
  /** Names of ASCII letters, digits, "_" and "-". Behind the first, `*` stands for each object of a list. */
  readonly path: readonly [string, ...string[]];
  /** `undefined`: the member is removed, if it is there. */
  readonly value: JsonValue | undefined;
  /**
   * Whether a value stays that stands there; of `undefined`, whether the member is not added where it is missing. Where it is known,
   * a name on the path may be there several times, and each is edited. Default: nothing stays.
   */
  readonly stays?: ((value: unknown) => boolean) | undefined;
}

/** The longest value that is read. None that people write for a name or a number is as long. */
const maxValueBytes = 262_144;

/** A value of a body: an object as an empty one, and `NaN` for what is no JSON or too long to be read. */
export function valueIn(body: ReceivedBody, { end, start }: ByteRange): unknown {
  if (isObject(body, { start, end })) return {};
  if (end - start > maxValueBytes) return Number.NaN;
  try {
    return JSON.parse(Buffer.concat(body.parts({ start, end })).toString('utf8'));
  } catch {
    return Number.NaN;
  }
}

export function isObject(body: ReceivedBody, range: ByteRange): boolean {
  return body.parts(range)[0]?.[0] === OPEN_OBJECT;
}

/**
 * The pieces of a body whose object has been edited. Every byte outside of the edited values stays as it was, and is not
 * copied. A member that is not there is put in front of the others, with the objects on its way. What stands on the way and is no object
 * gives way to one; but where `*` stands for a list, and there is none, nothing is edited. Of several edits of one member the last counts; one of a whole member counts for all inside of it.
 *
 * @throws {GatewayError} `invalid_request` if an edited member is there more than once and its edit does not know what stays, or more
 *   than eight times, and for an edited list of more than 4 MiB.
 * @throws {TypeError} if the object was not scanned for a name of the top level.
 */
export function editBody(body: ReceivedBody, object: ScannedObject, edits: readonly BodyEdit[]): Buffer[] {
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { end, start, text } of splicesOf(body, object, edits)) {
    pieces.push(...body.parts({ start: from, end: start }), Buffer.from(text));
    from = end;
  }
  return [...pieces, ...body.parts({ start: from, end: body.byteLength })];
}

/** A range of the body that gives way to a text. */
interface Splice extends ByteRange {
  readonly text: string;
}

/** The changes of an object's bytes, in their order. No two of them overlap. */
function splicesOf(body: ReceivedBody, object: ScannedObject, edits: readonly BodyEdit[]): Splice[] {
  const splices: Splice[] = [];
  const added: string[] = [];
  const removed: Member[] = [];
  for (const [name, own] of byName(edits)) {
    if (!object.names.includes(name)) throw new TypeError(`the body was not scanned for ${name}`);
    const several = object.doubled.get(name);
    if (several !== undefined && !isOfEach(own)) throw severalOf(name);
    const member = object.members.get(name);
    const members = several ?? (member === undefined ? [] : [member]);
    if (own.ofItems.length > 0) {
      for (const each of members) {
        for (const item of objectsIn(body, name, each))
          splices.push(...splicesOf(body, scanInside(body, item, own.ofItems), own.ofItems));
      }
      continue;
    }
    const isRemoved = own.whole !== undefined && own.whole.value === undefined;
    if (members.length === 0) {
      const value = isRemoved ? undefined : newValue(own);
      if (value !== undefined) added.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
    }
    for (const each of members) {
      if (own.whole?.stays?.(valueIn(body, each)) === true) continue;
      if (isRemoved) {
        removed.push(each);
      } else if (own.whole === undefined && isObject(body, each)) {
        splices.push(...splicesOf(body, scanInside(body, each, own.inside), own.inside));
      } else {
        const value = own.whole === undefined ? newValue(own) : own.whole.value;
        if (value !== undefined)
          splices.push({ start: each.start, end: each.end, text: JSON.stringify(value) });
      }
    }
  }
  const isEmptied = addRemovals(removed, splices);
  if (added.length > 0) {
    const { bodyStart, isEmpty } = object;
    const text = `${added.join(',')}${isEmpty || isEmptied ? '' : ','}`;
    splices.push({ start: bodyStart, end: bodyStart, text });
  }
  // What is added stands first: no other change begins before it.
  return splices.toSorted((one, other) => one.start - other.start || one.end - other.end);
}

/**
 * Adds the removal of members, each with one comma: those at the object's start with the comma behind them, and others with the
 * one before. Returns whether no member is left.
 */
function addRemovals(removed: readonly Member[], splices: Splice[]): boolean {
  let isEmptied = false;
  /** The comma before a member when everything before it is removed; `undefined`: of the first one. */
  let leadingComma: number | undefined;
  let isLeading = true;
  const inOrder = removed.toSorted((one, other) => one.start - other.start);
  for (const { commaAfter, commaBefore, end, nameStart } of inOrder) {
    isLeading &&= commaBefore === leadingComma;
    leadingComma = commaAfter;
    isEmptied = isLeading && commaAfter === undefined;
    if (!isLeading) splices.push({ start: commaBefore ?? nameStart, end, text: '' });
    else splices.push({ start: nameStart, end: commaAfter === undefined ? end : commaAfter + 1, text: '' });
  }
  return isEmptied;
}

/** The edits of one member: of itself, of what is inside of it, or of each object in the list that it is. */
interface MemberEdits {
  whole: BodyEdit | undefined;
  readonly inside: BodyEdit[];
  readonly ofItems: BodyEdit[];
}

function byName(edits: readonly BodyEdit[]): ReadonlyMap<string, MemberEdits> {
  const byFirst = new Map<string, MemberEdits>();
  for (const edit of edits) {
    const [first, second, ...rest] = edit.path;
    const own = byFirst.get(first) ?? { whole: undefined, inside: [], ofItems: [] };
    byFirst.set(first, own);
    const [third, ...others] = rest;
    if (second === undefined) own.whole = edit;
    else if (second === '*' && third !== undefined) own.ofItems.push({ ...edit, path: [third, ...others] });
    else own.inside.push({ ...edit, path: [second, ...rest] });
  }
  return byFirst;
}

/** Whether these edits say what stays of a member, so that it may be there several times. */
function isOfEach({ inside, ofItems, whole }: MemberEdits): boolean {
  const edits = whole === undefined ? [...inside, ...ofItems] : [whole];
  return edits.every(({ stays }) => stays !== undefined);
}

/** The value of a member that was not there, or was no object; `undefined`: nothing is set in it. */
function newValue({ inside, whole }: MemberEdits): JsonValue | undefined {
  if (whole !== undefined) return whole.stays?.(undefined) === true ? undefined : whole.value;
  const members: [string, JsonValue][] = [];
  for (const [name, own] of byName(inside)) {
    const value = newValue(own);
    if (value !== undefined) members.push([name, value]);
  }
  return members.length === 0 ? undefined : Object.fromEntries(members);
}

/** Scans an object inside of the body for the names that are edited in it. */
function scanInside(body: ReceivedBody, range: ByteRange, edits: readonly BodyEdit[]): ScannedObject {
  const nameOf = ({ path: [name] }: BodyEdit): string => name;
  const names = edits.map(nameOf);
  const single = new Set(edits.filter(({ stays }) => stays === undefined).map(nameOf));
  const optional = names.filter((name) => !single.has(name));
  return objectAt(body, range, names, optional);
}

/** The members of an object that stands in a body. `optional`: those of the `names` that may be there several times. */
export function objectAt(
  body: ReceivedBody,
  range: ByteRange,
  names: readonly string[],
  optional: readonly string[],
): ScannedObject {
  const scanner = new BodyScanner({ names, optional, start: range.start });
  for (const part of body.parts(range)) scanner.push(part);
  return scanner.end().object;
}

/** The longest list whose objects are edited. It is read in one go. */
const maxListBytes = 4_194_304;

/** Where the objects of a list stand, in their order; none, if the value in that range is no list. */
function objectsIn(body: ReceivedBody, name: string, { end, start }: ByteRange): ByteRange[] {
  if (body.parts({ start, end })[0]?.[0] !== OPEN_LIST) return [];
  if (end - start > maxListBytes) {
    const message = `${name}: expected at most ${maxListBytes} bytes, got ${end - start}. The names of models in it have to be changed.`;
    throw new GatewayError('invalid_request', message);
  }
  const bytes = Buffer.concat(body.parts({ start, end }));
  const objects: ByteRange[] = [];
  let depth = 0;
  let begun = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) at = endOfText(bytes, at);
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (depth === 1) begun = at;
      depth += 1;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      depth -= 1;
      if (depth === 1 && byte === CLOSE_OBJECT) objects.push({ start: start + begun, end: start + at + 1 });
    }
  }
  return objects;
}

/** The quote that ends the text whose first quote is at `at`. */
function endOfText(bytes: Buffer, at: number): number {
  for (let end = bytes.indexOf(QUOTE, at + 1); end !== -1; end = bytes.indexOf(QUOTE, end + 1)) {
    let before = end;
    while (bytes[before - 1] === BACKSLASH) before -= 1;
    if ((end - before) % 2 === 0) return end;
  }
  return bytes.length;
}

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const BACKSLASH = 0x5c;
const QUOTE = 0x22;
