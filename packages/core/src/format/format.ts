import type { DeltaRule } from './delta-rule.ts';
import type { ClassifyPayload } from './sse.ts';

/** The names of the known wire formats, as metrics and logs write them. */
export type FormatName =
  | 'anthropic-messages'
  | 'conversation'
  | 'gemini'
  | 'openai-chat'
  | 'openai-completions'
  | 'openai-responses';

/** An error to be written in a format. */
export interface FormatError {
  /** The message for people: what happened, the limit, what came, what to do. */
  readonly message: string;
  /** The code for programs, which never changes its meaning. */
  readonly code: string;
  /**
   * The HTTP status of the error, or the one it would have had. Formats derive their families of errors from the
   * status.
   */
  readonly status: number;
  /** The id of the failed request, for formats that have a field for it. Default: none. */
  readonly requestId?: string | undefined;
}

/**
 * The tokens of a reply, as far as the provider has reported them. The numbers are running totals: the last report
 * counts.
 */
export interface TokenUsage {
  /** Tokens of the prompt, as the provider counts them; `undefined`: not reported. */
  readonly inputTokens: number | undefined;
  /** Tokens of the reply, as the provider counts them; `undefined`: not reported. */
  readonly outputTokens: number | undefined;
}

/** An answer that is ended in its midst, on purpose, as {@link Format.close} needs it. */
export interface CutAnswer {
  /** The payloads of the events that came, in order, as far as they are kept. One that is no JSON is `undefined`. */
  readonly events: readonly unknown[];
  /** Whether the first of the events is the answer's first. */
  readonly isFromStart: boolean;
  /** What {@link Format.identity} made of the answer's first event. Only needed without its start. Default: nothing. */
  readonly identity?: unknown;
  /** Why the answer is ended: the member `spillway` of its last event. */
  readonly note: Readonly<Record<string, unknown>>;
  /** The tokens so far; what is not known of them is left out, or 0 where the format must have a number. */
  readonly usage: TokenUsage;
}

/** Everything that Spillway knows of one wire format, as pure functions. */
export interface Format {
  /** The format's name in configuration and metrics. */
  readonly name: FormatName;
  /** Finds the end marker, error events and choices that are over, without parsing JSON. */
  readonly classify: ClassifyPayload;
  /** The rule for merging two neighbouring events, for `createCoalesce`. */
  readonly delta: DeltaRule;
  /**
   * Whether the parsed payload of an event carries a part of the reply: text, reasoning, a tool's call, sound. What only says
   * that a reply begins, goes on or ends carries none, and neither does an error. Of a body in one piece: whether the reply in
   * it has any.
   */
  readonly hasContent: (payload: unknown) => boolean;
  /**
   * The usage that the parsed payload of an event, or a body in one piece, reports. That a prompt has 0 tokens is no report; that a
   * reply has none may be true, where nothing of it came.
   */
  readonly usage: (payload: unknown) => TokenUsage | undefined;
  /** Writes the body of an error response. */
  readonly errorBody: (error: FormatError) => string;
  /** Writes an event for an error in the middle of a stream. The official SDKs throw such an error. */
  readonly errorEvent: (error: FormatError) => Uint8Array;
  /**
   * What `close` needs of the payload of an answer's first event where that event is not kept; small. Absent: nothing.
   */
  readonly identity?: (first: unknown) => unknown;
  /**
   * Writes the events that make a whole message of an answer which is ended in its midst: what is open is closed, with
   * the finish reason of a full length, the usage, the reason, and the end marker. The official SDKs take it for a
   * message that had no more room. `undefined`: no message can be made of it.
   */
  readonly close: (answer: CutAnswer) => Uint8Array | undefined;
}
