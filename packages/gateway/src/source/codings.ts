import { GatewayError } from '../errors.ts';
import { listed } from '../headers.ts';
import { decoders, zstdWindowLog } from '../http/decoders.ts';
import { maxReadBytes } from './connect.ts';
import { DecodedBody } from './decoded-body.ts';
import { beginsEvents } from './first-bytes.ts';
import type { Reply } from './reply.ts';

/** What is known of a coding that can be undone. */
interface Coding {
  /** Whether a body that begins so has it; `undefined`: more of it has to come. */
  readonly isIn: (first: Buffer) => boolean | undefined;
  /** What a decoder keeps of what it has decoded: of a stream that is shorter, no more than that. */
  readonly windowBytes: number;
}

const options = { chunkSize: maxReadBytes, highWaterMark: maxReadBytes };

const gzip: Coding = {
  isIn: (first) => startsWith(first, [0x1f, 0x8b]),
  windowBytes: 0,
};

const codings: Readonly<Record<string, Coding>> = {
  gzip,
  'x-gzip': gzip,
  deflate: {
    isIn: isNoText,
    windowBytes: 0,
  },
  br: { isIn: isNoText, windowBytes: 16_777_216 },
  zstd: {
    isIn: (first) => startsWith(first, [0x28, 0xb5, 0x2f, 0xfd]),
    windowBytes: 2 ** zstdWindowLog,
  },
};

/** The codings that are registered and that nobody here can undo. Any other word is none. */
export const unknownCodings: ReadonlySet<string> = new Set([
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

/**
 * Undoes the codings of a reply's body, that nobody asked for. A word that is no coding (`none`, `identity`, a charset) is
 * none, and a body that is not coded as its head says is left as it is.
 *
 * @throws {GatewayError} `upstream_invalid` for a coding that cannot be undone.
 */
export async function undoCodings(reply: Reply): Promise<void> {
  const names = listed((reply.header('content-encoding') ?? '').toLowerCase()).filter(
    (name) => Object.hasOwn(codings, name) || unknownCodings.has(name),
  );
  if (names.length === 0) return;
  const unknown = names.find((name) => unknownCodings.has(name));
  if (unknown !== undefined || names.length > maxCodings) {
    reply.discard();
    throw new GatewayError(
      'upstream_invalid',
      `The provider coded its answer (${unknown ?? names.join(', ')}), although it was asked not to: expected gzip, deflate, br or zstd.`,
    );
  }
  // The last of them was done last.
  for (const name of names.toReversed()) {
    const coding = codings[name];
    const open = decoders[name];
    if (coding === undefined || open === undefined) continue;
    let first: Buffer = Buffer.alloc(0);
    const isIn = await reply.first((bytes) => {
      first = bytes;
      return coding.isIn(bytes);
    }, false);
    if (isIn) reply.wrap((body) => new DecodedBody(body, open(first[0] ?? 0, options), coding.windowBytes));
  }
  reply.isDecoded = true;
}

function startsWith(bytes: Buffer, magic: readonly number[]): boolean | undefined {
  if (magic.some((byte, at) => at < bytes.length && bytes[at] !== byte)) return false;
  return bytes.length < magic.length ? undefined : true;
}

/** Enough to tell text from bytes that look like it by chance. */
const textBytes = 8;

/** Without a magic number, only what is an event stream by its first bytes is not coded. */
function isNoText(first: Buffer): boolean | undefined {
  const isEvents = beginsEvents(first);
  if (isEvents === undefined || (isEvents && first.length < textBytes)) return undefined;
  const isText = first.subarray(0, textBytes).every((byte) => byte >= 0x09 && byte !== 0x7f);
  return !(isEvents && isText);
}
