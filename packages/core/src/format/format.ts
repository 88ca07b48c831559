import type { DeltaRule } from './delta-rule.ts';
import type { ClassifyPayload } from './sse.ts';

/** The wire formats that are known, by the names that metrics and logs give them. */
export type FormatName =
  | 'anthropic-messages'
  | 'gemini'
  | 'openai-chat'
  | 'openai-completions'
  | 'openai-responses';

/** An error to be told in a format. */
export interface FormatError {
  /** For people: what happened, the limit, what came, what to do. */
  readonly message: string;
  /** For programs: stable. */
  readonly code: string;
  /** The HTTP status that it has, or would have had: formats derive their families of errors from it. */
  readonly status: number;
}

/** What a reply cost, as far as the provider has said. Running totals: the last one counts. */
export interface TokenUsage {
  /** Tokens of the prompt, as the provider counts them; `undefined`: it has not said. */
  readonly inputTokens: number | undefined;
  /** Tokens of the answer, the same. */
  readonly outputTokens: number | undefined;
}

/** What the bytes of a stream mean: pure functions about one wire format. */
export interface Format {
  /** What configuration and metrics call it. */
  readonly name: FormatName;
  /** Tells the end marker, an error event and which choices are over, without parsing JSON. */
  readonly classify: ClassifyPayload;
  /** What of two neighbouring events adds up, for `createCoalesce`. */
  readonly delta: DeltaRule;
  /** Whether the payload of an event, parsed, carries something of the answer. */
  readonly hasContent: (payload: unknown) => boolean;
  /** The usage that the payload of an event, parsed, reports. */
  readonly usage: (payload: unknown) => TokenUsage | undefined;
  /** The body of an error response. */
  readonly errorBody: (error: FormatError) => string;
  /** An event that reports an error in the middle of a stream; the official SDKs throw it. */
  readonly errorEvent: (error: FormatError) => Uint8Array;
}
