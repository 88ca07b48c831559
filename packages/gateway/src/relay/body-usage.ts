import type { Format, TokenUsage } from '@spillway/core/format/format';
import { parsedJson } from '@spillway/core/format/parsed-json';
import { plainStart } from '../source/codings.ts';
import { GrowingBytes } from '../source/growing-bytes.ts';
import type { GatewayError } from '@spillway/server/errors';
import { errorIn } from '../source/reported-error.ts';
import { usageInBody } from './usage-in-body.ts';

/** The bytes of a body that are held for its usage: its end, or all of one that has a coding. */
const maxHeldBytes = 65_536;
/** A coded body that becomes larger is not looked at. */
const maxPlainBytes = 1_048_576;

/** What a body in one piece says of itself. */
interface BodyReport {
  /** `undefined`: nothing was reported, or it could not be read. */
  readonly usage: TokenUsage | undefined;
  /** The error that it is; `undefined`: it is an answer, or too large for an error. */
  readonly error: GatewayError | undefined;
}

/**
 * Finds the usage in an answer that comes in one piece, and whether it is an error. The usage stands at the end of every format's
 * body.
 */
export class BodyUsage {
  readonly #format: Format;
  readonly #coding: string | undefined;
  #held = new GrowingBytes(maxHeldBytes);
  #isLost = false;
  /** Whether all of it is held. */
  #isWhole = true;

  /** `coding`: the `Content-Encoding` of the bytes that come. */
  constructor(format: Format, coding: string | undefined) {
    this.#format = format;
    this.#coding = coding;
  }

  take(bytes: Uint8Array): void {
    if (this.#isLost) return;
    if (this.#held.length + bytes.length <= maxHeldBytes) {
      this.#held.add(bytes);
    } else if (this.#coding === undefined) {
      const before = this.#held.bytes;
      this.#isWhole = false;
      this.#held = new GrowingBytes(maxHeldBytes);
      // The later half, so that a body of small pieces is not copied with each of them.
      const keep = Math.max(0, Math.min(before.length, maxHeldBytes / 2 - bytes.length));
      this.#held.add(before.subarray(before.length - keep));
      this.#held.add(bytes.subarray(Math.max(0, bytes.length - maxHeldBytes)));
    } else {
      this.#held = new GrowingBytes(0);
      this.#isLost = true;
    }
  }

  /** Call it once, when the body is whole. */
  async read(): Promise<BodyReport> {
    const held = this.#held.bytes;
    const coding = held.length === 0 ? undefined : this.#coding;
    const plain = this.#isLost
      ? undefined
      : await plainStart(held, coding, maxPlainBytes).catch(() => undefined);
    if (plain === undefined) return { usage: undefined, error: undefined };
    const error = this.#isWhole ? errorIn(held, plain) : undefined;
    const usage = usageInBody(this.#format, plain);
    // That an answer has 0 tokens of which something came is no report.
    if (usage?.outputTokens === 0 && this.#hasContent(plain))
      return { usage: { inputTokens: usage.inputTokens, outputTokens: undefined }, error };
    return { usage, error };
  }

  /** Whether the body has something of the answer in it. What is too large to be held has. */
  #hasContent(plain: Uint8Array): boolean {
    if (!this.#isWhole) return true;
    const parsed = parsedJson(new TextDecoder().decode(plain));
    // One of Gemini's may be a list of what would be events.
    const payloads: readonly unknown[] = Array.isArray(parsed) ? parsed : [parsed];
    return payloads.some(this.#format.hasContent);
  }
}
