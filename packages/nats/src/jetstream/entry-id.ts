import { maxParts, type RecordPart } from '@spillway/core/engine';
import { headers, type MsgHdrs } from '@nats-io/transport-node';

/** Which part of which record a message is. */
export type EntryId = Omit<RecordPart, 'value'>;

const streamForm = /^[\w-]{1,128}$/;

/** The headers of a part's message: `Nats-Msg-Id` is JetStream's, the others are ours. */
export function entryHeaders({ part, parts, seq, stream }: EntryId): MsgHdrs {
  const made = headers();
  made.set('Nats-Msg-Id', `${stream}:${seq}:${part}`);
  made.set('Spillway-Stream', stream);
  made.set('Spillway-Seq', String(seq));
  if (parts > 1) {
    made.set('Spillway-Part', String(part));
    made.set('Spillway-Parts', String(parts));
  }
  return made;
}

/** Reads the headers of a message. `undefined`: it is not one of ours. */
export function readEntryId(valueOf: (name: string) => string | undefined): EntryId | undefined {
  const stream = valueOf('Spillway-Stream') ?? '';
  const seq = wholeOf(valueOf('Spillway-Seq'));
  const part = wholeOf(valueOf('Spillway-Part') || '0');
  const parts = wholeOf(valueOf('Spillway-Parts') || '1');
  if (!streamForm.test(stream) || seq === undefined || part === undefined || parts === undefined)
    return undefined;
  return part < parts && parts <= maxParts ? { stream, seq, part, parts } : undefined;
}

function wholeOf(text: string | undefined): number | undefined {
  const value = Number(text);
  return text !== undefined && /^\d+$/.test(text) && Number.isSafeInteger(value) ? value : undefined;
}
