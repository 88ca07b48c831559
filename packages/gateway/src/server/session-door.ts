import type { Guard } from '../access/guard.ts';
import type { Connections } from '../http/connections.ts';
import { errorText } from '../http/error-text.ts';
import { requestRefusal } from '../http/request-target.ts';
import type { SessionDoor } from '@spillway/server/session/sessions';

/** Decides about a listener's WebSockets: its guard refuses some, and its connections close those. */
export function sessionDoor(connections: Pick<Connections, 'close' | 'known'>, guard: Guard): SessionDoor {
  return {
    refusal: (request) => requestRefusal(request) ?? guard.upgradeRefusal(request.headers),
    refuse: (socket, error) => connections.close(socket, errorText(error)),
    known: (socket) => connections.known(socket),
  };
}
