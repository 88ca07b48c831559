import type { Served } from '../config/read-models.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { decodeBody, isDecodable, isPlain } from '../http/decode-body.ts';
import { receiveBody, type ReceiveOptions } from '../http/receive-body.ts';
import { type MemberPaths, readRelayRequest, type RelayRequest } from './relay-request.ts';
import { firstNames, openScanner } from '../http/request-body.ts';
import type { BodyHold } from '@spillway/server/memory/request-memory';
import type { Route } from '../http/route.ts';
import type { Method } from '../source/reply.ts';

export interface ReceiveRequestOptions extends Omit<ReceiveOptions, 'hold' | 'scanner'> {
  /** What is served now. */
  readonly served: () => Served;
  /** The paths of members of a JSON body whose texts are wanted. */
  readonly members: MemberPaths;
  /** Whether the tokens of its prompt are wanted. */
  readonly isCounted: boolean;
  /**
   * The members of the top level that may be edited, beside the model. Then a body with a content coding is held in both of its forms.
   * `undefined`: the body is sent as it is.
   */
  readonly editable: readonly string[] | undefined;
  /** Takes the room of a body. The body holds the room until it is released. */
  readonly openHold: () => BodyHold;
}

/**
 * Receives a request for a provider, and reads it as far as needed. A body with a content coding is sent on as it
 * came. It is decoded only to be read. Of the two forms, the one that is not sent is released, if the body is not to be edited.
 *
 * @throws {GatewayError} the errors of `receiveBody`, `decodeBody` and `readRelayRequest`.
 */
export async function receiveRequest(
  route: Route,
  request: IncomingMessage,
  response: ServerResponse,
  { editable, isCounted, members, openHold, served, ...options }: ReceiveRequestOptions,
): Promise<RelayRequest> {
  const { 'content-encoding': coding, 'content-type': contentType } = request.headers;
  const method = request.method as Method;
  const scanner = openScanner(route, contentType, firstNames(members), editable);
  const isEditable = editable !== undefined;
  const hold = openHold();
  const decodedHold = openHold();
  const isCoded = !isPlain(coding);
  const received = await receiveBody(request, response, {
    ...options,
    hold,
    scanner: isCoded ? undefined : scanner,
  });
  try {
    // A provider that expects no body after a GET would take the body for the next request.
    const body = method === 'GET' ? null : received;
    const decoded =
      body !== null && scanner !== undefined && coding !== undefined && isDecodable(coding)
        ? await decodeBody(body, coding, { hold: decodedHold, maxBytes: options.maxBytes, scanner })
        : undefined;
    const relayed = readRelayRequest(
      { route, method, contentType, body, decoded, members, isCounted, isEditable },
      served(),
    );
    if (isEditable) {
      relayed.body.onRelease = () => {
        hold.release();
        decodedHold.release();
      };
      return relayed;
    }
    const [kept, other] = relayed.isDecoded ? [decodedHold, hold] : [hold, decodedHold];
    other.release();
    relayed.body.onRelease = kept.release;
    return relayed;
  } catch (error) {
    hold.release();
    decodedHold.release();
    throw error;
  }
}
