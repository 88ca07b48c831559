import { z } from 'zod';

/** What a bridge may send to Twilio, or what is wrong with it. */
export type StreamCommand =
  | { readonly kind: 'media'; readonly audio: Uint8Array }
  | { readonly kind: 'mark'; readonly name: string }
  | { readonly kind: 'clear' }
  | { readonly kind: 'refused'; readonly code: 31_950 | 31_951; readonly message: string };

const event = z.looseObject({ event: z.string() });
const streamSid = z.string();
const commands = {
  media: z.looseObject({ streamSid, media: z.looseObject({ payload: z.base64().min(4) }) }),
  mark: z.looseObject({ streamSid, mark: z.looseObject({ name: z.string().min(1) }) }),
  clear: z.looseObject({ streamSid }),
};

/** Reads a message as strictly as Twilio does: text, in JSON, one of three events, for this stream. */
export function readCommand(data: Buffer, isBinary: boolean, streamId: string): StreamCommand {
  if (isBinary) return { kind: 'refused', code: 31_950, message: 'expected text, got a binary message' };
  let json: unknown;
  try {
    json = JSON.parse(data.toString()) as unknown;
  } catch {
    return unknown('expected JSON');
  }
  const named = event.safeParse(json);
  if (!named.success) return unknown('expected an object with the name of an event');
  const name = named.data.event;
  if (name === 'media') {
    const media = commands.media.safeParse(json);
    if (!media.success) return unknown(`media: ${problem(media.error)}`);
    if (media.data.streamSid !== streamId) return unknown('media: expected the streamSid of this call');
    return { kind: 'media', audio: Buffer.from(media.data.media.payload, 'base64') };
  }
  if (name === 'mark') {
    const mark = commands.mark.safeParse(json);
    if (!mark.success) return unknown(`mark: ${problem(mark.error)}`);
    if (mark.data.streamSid !== streamId) return unknown('mark: expected the streamSid of this call');
    return { kind: 'mark', name: mark.data.mark.name };
  }
  if (name === 'clear') {
    const clear = commands.clear.safeParse(json);
    if (!clear.success) return unknown(`clear: ${problem(clear.error)}`);
    if (clear.data.streamSid !== streamId) return unknown('clear: expected the streamSid of this call');
    return { kind: 'clear' };
  }
  return unknown('expected the event media, mark or clear');
}

function unknown(message: string): StreamCommand {
  return { kind: 'refused', code: 31_951, message };
}

function problem({ issues: [issue] }: z.ZodError): string {
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
}
