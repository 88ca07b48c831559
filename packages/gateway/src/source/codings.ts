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

/** The codings that are registered and that nobody here can undo. Any other word is none. */
const unknownCodings: ReadonlySet<string> = new Set([
  'aes128gcm',
  'compress',
  'dcb',
  'dcz',
  'exi',
  'pack200-gzip',
  'x-compress',
]);

/** Nobody codes more often than twice; each has its memory. */
const maxCodings = 2;

/** What a `Content-Encoding` says. */
interface Codings {
  /** In the order in which they were done. */
  readonly names: readonly string[];
  /** Words that are no coding. */
  readonly words: readonly string[];
  /** Why they cannot be undone. */
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
 * Undoes the codings of a reply's body, that nobody asked for. A word that is no coding (`none`, `identity`, a charset) is
 * none, and text that is not coded as its head says is left as it is. What is neither fails.
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

/** The same for bytes that are handed on: what is in a coding that cannot be undone, or is a part of something coded, stays as it is. */
export async function undoKnownCodings(reply: Reply): Promise<void> {
  const { names, refused, words } = readCodings(reply.header('content-encoding'));
  if (names.length === 0 || refused !== undefined || reply.status === 206) return;
  await reply.decode((body) => undo(body, names, reply.signal), words.join(', '));
}

/** What a body that begins so begins with when its codings are undone: so many bytes, or as many as can be told. */
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
  body.abort(new Error('this is enough of it'));
  return start.length === 0 && isUtf8(bytes) ? bytes.subarray(0, maxBytes) : start;
}

async function undo(coded: ReplyBody, names: readonly string[], signal?: AbortSignal): Promise<ReplyBody> {
  let body = coded;
  // The last of them was done last.
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

/** A body of which no more comes than what is here. */
class HeldBytes implements ReplyBody {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  consume(handler: Parameters<ReplyBody['consume']>[0]): void {
    handler.data(this.#bytes, 0, this.#bytes.length);
    handler.end();
  }

  pause(): void {}

  resume(): void {}

  abort(): void {}
}

/** Enough to tell text from bytes that look like it by chance. */
const textBytes = 8;

/**
 * Whether a body that begins so is to be decoded; `undefined`: more of it has to come. Only plain text is not. What is neither text nor
 * in the coding fails in its decoder: it is in another coding, and nobody could read it.
 */
function isCoded({ magic }: Decoder, first: Buffer): boolean | undefined {
  if (magic === undefined) return isNoEventText(first);
  const hasBegun = magic.every((byte, at) => at >= first.length || first[at] === byte);
  if (hasBegun) return first.length < magic.length ? undefined : true;
  return first.length < textBytes ? undefined : !isText(first);
}

/** Without a magic number, only what is an event stream by its first bytes is not coded. */
function isNoEventText(first: Buffer): boolean | undefined {
  const isEvents = beginsEvents(first);
  if (isEvents === undefined || (isEvents && first.length < textBytes)) return undefined;
  return !(isEvents && isText(first.subarray(0, textBytes)));
}

/** Whether bytes are the start of a text: UTF-8, of which a character may be cut, and no control characters but white space. */
function isText(bytes: Buffer): boolean {
  if (bytes.some((byte) => byte === 0x7f || (byte < 0x20 && (byte < 0x09 || byte > 0x0d)))) return false;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
