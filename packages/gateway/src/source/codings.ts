import { isUtf8 } from 'node:buffer';
import { GatewayError } from '@spillway/server/errors';
import { listed } from '@spillway/server/http/listed';
import { type Decoder, decoders } from '../http/decoders.ts';
import { maxReadBytes } from './connect.ts';
import { DecodedBody } from './decoded-body.ts';
import { beginsEvents } from './first-bytes.ts';
import { PeekedBody } from './peeked-body.ts';
import type { Reply } from './reply.ts';
import type { ReplyBody } from './reply-body.ts';

const options = { chunkSize: maxReadBytes, highWaterMark: maxReadBytes };

/** Registered content codings without a decoder here. Any other unknown word counts as no coding. */
const unknownCodings: ReadonlySet<string> = new Set([
  'aes128gcm',
  'compress',
  'dcb',
  'dcz',
  'exi',
  'pack200-gzip',
  'x-compress',
]);

/** The most codings of one body: no server applies more than two, and each costs a decoder's memory. */
const maxCodings = 2;

/** The words of a `Content-Encoding` header. */
interface Codings {
  /** The names of codings, in the order in which the provider applied them. */
  readonly names: readonly string[];
  /** The words that name no coding. */
  readonly words: readonly string[];
  /** The codings that cannot be undone; `undefined`: all can. */
  readonly refused: string | undefined;
}

function readCodings(header = ''): Codings {
  const words = listed(header.toLowerCase());
  const isCoding = (word: string): boolean => Object.hasOwn(decoders, word) || unknownCodings.has(word);
  const names = words.filter(isCoding);
  const unknown = names.find((name) => unknownCodings.has(name));
  return {
    names,
    words: words.filter((word) => word !== '' && !isCoding(word)),
    refused: names.length > maxCodings ? names.join(', ') : unknown,
  };
}

/**
 * Decodes a reply's body, for providers that compress although the request asked for `identity`. A word that
 * names no coding (`none`, `identity`, a charset) is ignored. Text that is not coded, although its head says
 * so, stays as it is. A body that is neither text nor in its coding fails.
 *
 * @throws {GatewayError} `upstream_invalid` for a coding that cannot be undone.
 */
export async function undoCodings(reply: Reply): Promise<void> {
  const { refused } = readCodings(reply.header('content-encoding'));
  if (refused !== undefined) {
    reply.discard();
    throw new GatewayError(
      'upstream_invalid',
      `The provider coded its answer (${refused}), although it was asked not to: expected gzip, deflate, br or zstd.`,
    );
  }
  await undoKnownCodings(reply);
}

/**
 * As {@link undoCodings}, for bytes that are handed on: a body stays as it is if its coding cannot be undone,
 * or if it is a part of something coded (status 206).
 */
export async function undoKnownCodings(reply: Reply): Promise<void> {
  const { names, refused, words } = readCodings(reply.header('content-encoding'));
  if (names.length === 0 || refused !== undefined || reply.status === 206) return;
  await reply.decode((body) => undo(body, names, reply.signal), words.join(', '));
}

/** The first bytes of a decoded body, at most `maxBytes`, as far as the coded `bytes` tell them. */
export async function plainStart(
  bytes: Buffer,
  header: string | undefined,
  maxBytes: number,
): Promise<Buffer> {
  const { names, refused } = readCodings(header);
  if (refused !== undefined) return Buffer.alloc(0);
  if (names.length === 0) return bytes.subarray(0, maxBytes);
  const body = await undo(new HeldBytes(bytes), names);
  const start = await new PeekedBody(body).first(
    (plain) => (plain.length >= maxBytes ? plain.subarray(0, maxBytes) : undefined),
    (plain) => plain,
  );
  body.cancel(new Error('this is enough of it'));
  return start.length === 0 && isUtf8(bytes) ? bytes.subarray(0, maxBytes) : start;
}

async function undo(coded: ReplyBody, names: readonly string[], signal?: AbortSignal): Promise<ReplyBody> {
  let body = coded;
  // The coding that was applied last is undone first.
  for (const name of names.toReversed()) {
    const decoder = decoders[name];
    if (decoder === undefined) continue;
    let first: Buffer = Buffer.alloc(0);
    const peeked = new PeekedBody(body);
    const isIn = await peeked.first(
      (bytes) => {
        first = bytes;
        return isCoded(decoder, bytes);
      },
      (bytes) => bytes.length > 0 && !isText(bytes),
    );
    body = isIn
      ? new DecodedBody(peeked, decoder.open(first[0] ?? 0, options), decoder.windowBytes, signal)
      : peeked;
  }
  return body;
}

/** A body whose bytes are all here already. */
class HeldBytes implements ReplyBody {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  consume(handler: Parameters<ReplyBody['consume']>[0]): void {
    handler.data(this.#bytes, 0, this.#bytes.length);
    handler.complete();
  }

  pause(): void {}

  resume(): void {}

  cancel(): void {}
}

/** Bytes needed to tell text from coded bytes that look like text by chance. */
const textBytes = 8;

/**
 * Whether a body with these first bytes has to be decoded; `undefined`: too few bytes to tell. Only plain
 * text is not decoded. Bytes that are neither text nor in this coding fail in the decoder: they are in
 * another coding, which no reader could read.
 */
function isCoded({ magic }: Decoder, first: Buffer): boolean | undefined {
  if (magic === undefined) return isNoEventText(first);
  const hasBegun = magic.every((byte, at) => at >= first.length || first[at] === byte);
  if (hasBegun) return first.length < magic.length ? undefined : true;
  return first.length < textBytes ? undefined : !isText(first);
}

/** In a coding without a magic number, only a body that begins as an event stream counts as not coded. */
function isNoEventText(first: Buffer): boolean | undefined {
  const isEvents = beginsEvents(first);
  if (isEvents === undefined || (isEvents && first.length < textBytes)) return undefined;
  return !(isEvents && isText(first.subarray(0, textBytes)));
}

/**
 * Whether bytes are the start of a text: UTF-8, perhaps with a cut character at the end, without control
 * characters other than white space.
 */
function isText(bytes: Buffer): boolean {
  if (bytes.some((byte) => byte === 0x7f || (byte < 0x20 && (byte < 0x09 || byte > 0x0d)))) return false;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
