import type { AudioFormat } from '@spillway/core/audio';
import { z } from 'zod';
import type { CarrierCall } from './carrier-leg.ts';

/** What a carrier says, whatever it calls it. */
export type CarrierMessage =
  | { readonly kind: 'connected' }
  | { readonly kind: 'start'; readonly call: CarrierCall; readonly format: AudioFormat }
  | {
      readonly kind: 'media';
      readonly streamId: string;
      /** Whether it is what the human says, and not what is said to him. */
      readonly isInbound: boolean;
      /** Numbers what the human says. */
      readonly chunk: number;
      readonly timestampMs: number;
      readonly audio: Uint8Array;
    }
  | { readonly kind: 'mark'; readonly streamId: string; readonly name: string }
  | { readonly kind: 'digit'; readonly streamId: string; readonly digit: string }
  | { readonly kind: 'stop'; readonly streamId: string }
  /** Known, and of no interest. */
  | { readonly kind: 'notice' }
  /** Not known: a carrier may say more tomorrow than today. */
  | { readonly kind: 'unknown' }
  /** Known, and not as it should be. The detail quotes nothing of it. */
  | { readonly kind: 'invalid'; readonly detail: string };

/** How one carrier writes its messages: all in which it differs from the others. */
export interface CarrierMessages {
  /** The carrier's name. */
  readonly carrier: string;
  /** Whether what the human says arrives in order. */
  readonly isOrdered: boolean;
  /** Reads a message that was JSON. */
  read(message: unknown): CarrierMessage;
  /** Writes audio, in base64. */
  media(streamId: string, payload: string): object;
  mark(streamId: string, name: string): object;
  clear(streamId: string): object;
}

/** A schema for each event, by its name. */
export type EventSchemas = Readonly<Record<string, z.ZodType<CarrierMessage>>>;

const anyEvent = z.looseObject({ event: z.string() });

/** Carriers write numbers as texts. */
export const digits = z
  .string()
  .regex(/^\d{1,15}$/, 'expected a whole number as a text')
  .transform(Number);

/** A key of the telephone; a carrier may know more keys than people have. */
export function pressed(streamId: string, digit: string): CarrierMessage {
  return /^[0-9*#A-D]$/.test(digit) ? { kind: 'digit', streamId, digit } : { kind: 'notice' };
}

/** Base64, as bytes. Node's own reader passes over what is none. */
export const base64 = z
  .base64('expected base64')
  .transform((text): Uint8Array => Buffer.from(text, 'base64'));

/** Reads a message with the schema of its event. */
export function readEvent(schemas: EventSchemas, message: unknown): CarrierMessage {
  const any = anyEvent.safeParse(message);
  if (!any.success)
    return { kind: 'invalid', detail: 'expected an object with the name of an event, got something else' };
  const { event } = any.data;
  if (!Object.hasOwn(schemas, event)) return { kind: 'unknown' };
  const read = schemas[event]?.safeParse(message);
  if (read === undefined) return { kind: 'unknown' };
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  return { kind: 'invalid', detail: `${event}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` };
}
