import type { OtherSockets } from '@spillway/server/session/sessions';
import { realtimePaths } from '../realtime/realtime-request.ts';
import type { RealtimeSessions } from '../realtime/realtime-sessions.ts';
import { voicePath } from '../voice/voice-path.ts';
import type { Voice } from '../voice/voice.ts';

/** The WebSockets beside sessions: conversations with realtime models and, where they are served, calls. */
export function otherSockets(
  realtime: Pick<RealtimeSessions, 'take'>,
  voice: Pick<Voice, 'take'> | undefined,
): OtherSockets {
  return {
    paths: [...realtimePaths, ...(voice === undefined ? [] : [voicePath])],
    take: (request, socket, head) =>
      voice?.take(request, socket, head) === true || realtime.take(request, socket, head),
  };
}
