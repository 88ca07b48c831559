import type { RefusalWords } from './refusal-words.ts';

/** One reply of the simulated model, whatever its format. */
export interface SimulatedReply {
  /** Counts the requests; identifiers are made of it. */
  readonly number: number;
  readonly model: string;
  readonly createdS: number;
  /** Whether the client asked for usage, where a format has it only then. */
  readonly withUsage: boolean;
}

/** An error of the simulated model. */
export interface SimulatedError {
  readonly status: number;
  readonly message: string;
  /** The family of the error, where a format has one. */
  readonly type: string;
  readonly code: string;
}

/** The events of one reply, as text on the wire. */
export interface ReplyEvents {
  /** What comes before the first token. */
  first(): string;
  token(text: string): string;
  /** What comes behind the last token: the last of it is the provider's own end marker, or its last word. */
  end(text: () => string, tokens: number): readonly string[];
  error(error: SimulatedError): string;
}

/** How a format writes what the simulated model says. */
export interface ReplyFormat {
  events(reply: SimulatedReply): ReplyEvents;
  /** The same reply in one piece, to be written as JSON. */
  whole(reply: SimulatedReply, text: string, tokens: number): object;
  /** The body of an error, to be written as JSON. */
  error(error: SimulatedError): object;
  readonly refusals: RefusalWords;
  /** A recorded payload as an event. */
  frame(payload: string): string;
  /** What comes behind a recording. */
  readonly recordedEnd: readonly string[];
}

/** An event without a name. */
export function unnamedEvent(payload: string): string {
  return `data: ${payload}\n\n`;
}

/** An event whose name is its payload's `type`. */
export function namedEvent(payload: { readonly type: string; readonly [key: string]: unknown }): string {
  return `event: ${payload.type}\ndata: ${JSON.stringify(payload)}\n\n`;
}

/** The same for a payload that is text already. */
export function namedText(payload: string): string {
  return `event: ${(JSON.parse(payload) as { type?: string }).type ?? 'message'}\ndata: ${payload}\n\n`;
}

export function openaiError({ message, type, code }: SimulatedError): object {
  return { error: { message, type, param: null, code } };
}
