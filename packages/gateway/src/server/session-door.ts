import { knownCaller } from '@spillway/server/access/caller';
import type { Refusal } from '@spillway/server/access/refusal';
import { clientAddress } from '@spillway/server/http/client-address';
import { requestIdOf } from '@spillway/server/http/request-id';
import type { SessionDoor } from '@spillway/server/session/sessions';
import type { Guard } from '../access/guard.ts';
import type { Connections } from '../http/connections.ts';
import { errorText } from '../http/error-text.ts';
import { requestRefusal } from '../http/request-target.ts';

/** Decides about a listener's WebSockets: its guard refuses some, and its connections close those. */
export function sessionDoor(
  connections: Pick<Connections, 'close' | 'known'>,
  guard: Guard,
  onRefused: (refusal: Refusal) => void,
): SessionDoor {
  return {
    refusal: (request) => requestRefusal(request) ?? guard.upgradeRefusal(request.headers),
    refuse: (request, error) => {
      const { headers, method = '', socket, url = '' } = request;
      const requestId = requestIdOf(request) ?? '';
      const path = requestRefusal(request) === undefined ? (url.split('?')[0] ?? '') : '';
      const address = clientAddress(request);
      onRefused({ requestId, address, caller: knownCaller(request), headers, method, path, error });
      connections.close(socket, errorText(error, requestId));
    },
    known: (socket) => connections.known(socket),
  };
}
