import { payloadsOf } from '@spillway/core/format/payloads';
import type { Format, TokenUsage } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { LimitError } from '../limit/limit-error.ts';
import { newestUsage } from './newest-usage.ts';
import type { StreamBody } from './stream-body.ts';

/** A stream, as far as its cut needs it. */
interface CutStream {
  readonly body: StreamBody | undefined;
  readonly large: { readonly tokens: number };
  /** The tokens that the provider has reported so far. */
  reported: TokenUsage | undefined;
  /** `identity`: see {@link identityIn}. */
  readonly limits: { readonly identity: unknown } | undefined;
  defect(where: string, error: unknown): void;
}

/** What the format's closing needs of an answer's first event, where that is not kept for so long. */
export function identityIn(first: EventRun, format: Format | undefined): unknown {
  return format?.identity?.(payloadsOf([first])[0]);
}

/** The end of an answer by a limit, in its midst: what came is delivered, and behind it the closing events. */
export class LimitCut {
  readonly error: LimitError;
  readonly #stream: CutStream;
  readonly #counted: TokenUsage | undefined;

  /** `counted`: the tokens so far, as they were counted here. */
  constructor(stream: CutStream, error: LimitError, counted: TokenUsage | undefined) {
    this.#stream = stream;
    this.error = error;
    this.#counted = counted;
  }

  /**
   * Writes the events that make a whole message of all that came. What they need of it is read from what the stream's log
   * keeps for readers to come, so that an answer that is never cut costs nothing for it. `undefined`: no message can be
   * made of it.
   */
  closing(): Uint8Array | undefined {
    const { body, large, limits } = this.#stream;
    if (body?.format === undefined) return undefined;
    // Some providers report their totals with each event. What they say is what is settled.
    const reported = newestUsage({ body, large, limits: undefined, reported: this.#stream.reported });
    this.#stream.reported = reported;
    const { format, log } = body;
    const { name, resetMs, scope } = this.error.reached;
    const counted = this.#counted;
    const inputTokens = reported?.inputTokens ?? counted?.inputTokens;
    const outputTokens = reported?.outputTokens ?? counted?.outputTokens;
    const isReported = inputTokens === reported?.inputTokens && outputTokens === reported?.outputTokens;
    const usage = isReported ? 'reported' : 'estimated';
    const isKnown = inputTokens !== undefined || outputTokens !== undefined;
    try {
      const runs = log.newest(Infinity);
      const closing = format.close({
        events: payloadsOf(runs),
        isFromStart: log.oldestOffset === 0,
        identity: limits?.identity,
        note: { reason: this.error.cutReason, limit: name, scope, resetMs, ...(isKnown && { usage }) },
        usage: { inputTokens, outputTokens },
      });
      return closing && withLineEnd(closing, lineEndOf(runs));
    } catch (error) {
      this.#stream.defect('closing of an answer', error);
      return undefined;
    }
  }
}

/** How the lines of an event stream end. Some readers look for the ends of events and not of lines, and know one kind. */
function lineEndOf(runs: readonly EventRun[]): string {
  const { bytes } = runs.find(({ events }) => events > 0) ?? { bytes: noBytes };
  const at = bytes.findIndex((byte) => byte === LF || byte === CR);
  if (bytes[at] !== CR) return '\n';
  return bytes[at + 1] === LF ? '\r\n' : '\r';
}

/** Events whose lines end with LF, with another line end. JSON has none in it. */
function withLineEnd(closing: Uint8Array, lineEnd: string): Uint8Array {
  return lineEnd === '\n' ? closing : Buffer.from(Buffer.from(closing).toString().replaceAll('\n', lineEnd));
}

const LF = 0x0a;
const CR = 0x0d;
const noBytes = new Uint8Array(0);
