import type { AudioFormat, Ear } from '@spillway/core/audio';

/** Who is on a carrier's leg. */
export interface CarrierCall {
  /** The carrier's name: `twilio`, `telnyx`. */
  readonly carrier: string;
  /** The carrier's id of the call. */
  readonly callId: string;
  /** The carrier's id of this connection. */
  readonly streamId: string;
  /** What the webhook's answer has given to this connection. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** What comes from a carrier. */
export type CarrierEvent =
  /** What the human says. `timestampMs` is the carrier's. */
  | { readonly kind: 'audio'; readonly timestampMs: number; readonly audio: Uint8Array }
  /** A mark came back. */
  | { readonly kind: 'mark'; readonly name: string }
  /** A key of the telephone: `0` to `9`, `*`, `#`, `A` to `D`. */
  | { readonly kind: 'digit'; readonly digit: string }
  /**
   * The leg has ended; nothing follows. `hangup`: the carrier said so. `lost`: the connection ended without a word.
   * `refused`: it sent what is not allowed, and was closed.
   */
  | { readonly kind: 'ended'; readonly why: 'hangup' | 'lost' | 'refused'; readonly detail: string };

/**
 * One call's connection to a carrier, after its start message. One file for each carrier knows its messages; a call knows
 * none of them.
 */
export interface CarrierLeg extends Ear {
  readonly call: CarrierCall;
  /** The format of both directions. */
  readonly format: AudioFormat;
  /** Audio that the socket has not taken yet, in milliseconds. */
  readonly bufferedMs: number;
  /** Begins to read. Before, what comes waits in the socket. Called once. */
  listen(listener: (event: CarrierEvent) => void): void;
  /** Closes the connection, at the latest after a few seconds. Safe to call twice. No event follows. */
  close(code: number, reason: string): void;
}
