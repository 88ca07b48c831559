import { BodyScanner } from '../http/body-scanner.ts';
import { editBody } from '../http/edit-body.ts';
import { ReceivedBody } from '../http/received-body.ts';

/** The longest event that is looked into. One that sets up a session has words and tools in it, and no audio. */
const maxEventBytes = 262_144;

/**
 * Finds the model in a client's events `session.update`, where it is named as in the query, and names it as the provider does. Every
 * other byte stays as it was, and so does every other message: what is none, has another model, or is larger than 256 KiB.
 */
export function sessionModel(asked: string, model: string): (message: Buffer) => Buffer {
  return (message) => {
    if (message.length > maxEventBytes || !message.includes('session.update')) return message;
    if (!isUpdate(message, asked)) return message;
    try {
      const scanner = new BodyScanner({ names: ['session'] });
      const body = ReceivedBody.whole(message, scanner);
      return Buffer.concat(
        editBody(body, scanner.end().object, [{ path: ['session', 'model'], value: model }]),
      );
    } catch {
      // It is ambiguous which one is meant: that is for the provider to refuse.
      return message;
    }
  };
}

function isUpdate(message: Buffer, asked: string): boolean {
  try {
    const event = JSON.parse(message.toString()) as {
      readonly type?: unknown;
      readonly session?: { readonly model?: unknown } | null;
    } | null;
    return event?.type === 'session.update' && event.session?.model === asked;
  } catch {
    return false;
  }
}
