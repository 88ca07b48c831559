import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GatewayError, overloaded } from '@spillway/server/errors';
import type { BodyHold } from '@spillway/server/memory/request-memory';
import type { Scanner } from './body-scanner.ts';
import { type Decoder, decoders } from './decoders.ts';
import { tooLarge } from './receive-body.ts';
import { ReceivedBody } from './received-body.ts';

/** The most decoded bytes of one step. */
const chunkSize = 65_536;
export interface DecodeOptions {
  /** The memory for the decoded body; released if decoding fails. */
  readonly hold: BodyHold;
  /** The most decoded bytes. */
  readonly maxBytes: number;
  readonly scanner: Scanner | undefined;
}

/**
 * Whether there is a decoder for a body's content coding. A body in another coding is left to the provider.
 */
export function isDecodable(coding = ''): boolean {
  return decoderOf(coding) !== undefined;
}

/** Whether a body has no content coding. */
export function isPlain(coding = ''): boolean {
  return /^\s*(?:identity\s*)?$/i.test(coding);
}

/**
 * Decodes a body, so that the gateway can read it. A few bytes can become gigabytes, so the decoded bytes are
 * bounded as bodies are. Each piece is decoded in its own turn of the event loop.
 *
 * @throws {GatewayError} `request_too_large`; `overloaded` when there is no room; `invalid_request` if the
 *   body is not in that coding.
 */
export async function decodeBody(
  body: ReceivedBody,
  coding: string,
  { hold, maxBytes, scanner }: DecodeOptions,
): Promise<ReceivedBody> {
  let roomBytes = 0;
  const takeRoom = (bytes: number): boolean => {
    roomBytes += bytes;
    // Twice the bytes: the decoder's window ≤ the decoded bytes always.
    return hold.grow(2 * bytes);
  };
  const decoded = new ReceivedBody({ takeRoom, scanner });
  const parts = body.parts();
  const decoder = decoderOf(coding)?.open(parts[0]?.[0] ?? 0, { chunkSize });
  if (decoder === undefined) throw new TypeError(`there is no decoder for ${coding}`);
  try {
    await pipeline(Readable.from(parts), decoder, async (pieces: AsyncIterable<Buffer>) => {
      for await (const piece of pieces) {
        if (decoded.byteLength + piece.length > maxBytes) throw tooLarge(maxBytes);
        if (!decoded.add(piece)) throw overloaded('This client holds its share of maxRequestMemoryBytes.');
      }
    });
  } catch (error) {
    hold.release();
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('invalid_request', `The body: expected it in ${coding}, got something else.`, {
      cause: error,
    });
  }
  hold.shrink(roomBytes);
  return decoded;
}

function decoderOf(coding: string): Decoder | undefined {
  const name = coding.trim().toLowerCase();
  return Object.hasOwn(decoders, name) ? decoders[name] : undefined;
}
