import { telephoneAudio } from '@spillway/core/audio';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import type { CarrierLeg } from './carrier-leg.ts';
import {
  base64,
  type CarrierMessages,
  digits,
  type EventSchemas,
  pressed,
  readEvent,
} from './carrier-messages.ts';
import { acceptSocket, type CarrierOptions } from './socket-leg.ts';

const streamSid = z.string().min(1).max(200);

const schemas: EventSchemas = {
  connected: z.looseObject({}).transform(() => ({ kind: 'connected' as const })),
  start: z
    .looseObject({
      streamSid,
      start: z.looseObject({
        callSid: z.string().min(1).max(200),
        customParameters: z.record(z.string(), z.string()).default({}),
        mediaFormat: z.looseObject({
          encoding: z.literal('audio/x-mulaw'),
          sampleRate: z.literal(8000),
          channels: z.literal(1),
        }),
      }),
    })
    .transform(({ start, streamSid: streamId }) => ({
      kind: 'start' as const,
      format: telephoneAudio,
      call: { carrier: 'twilio', callId: start.callSid, streamId, parameters: start.customParameters },
    })),
  media: z
    .looseObject({
      streamSid,
      media: z.looseObject({ track: z.string(), chunk: digits, timestamp: digits, payload: base64 }),
    })
    .transform(({ media: { chunk, payload, timestamp, track }, streamSid: streamId }) => ({
      kind: 'media' as const,
      streamId,
      isInbound: track === 'inbound',
      chunk,
      timestampMs: timestamp,
      audio: payload,
    })),
  dtmf: z
    .looseObject({ streamSid, dtmf: z.looseObject({ digit: z.string() }) })
    .transform(({ dtmf: { digit }, streamSid: streamId }) => pressed(streamId, digit)),
  mark: z
    .looseObject({ streamSid, mark: z.looseObject({ name: z.string() }) })
    .transform(({ mark: { name }, streamSid: streamId }) => ({ kind: 'mark' as const, streamId, name })),
  stop: z
    .looseObject({ streamSid })
    .transform(({ streamSid: streamId }) => ({ kind: 'stop' as const, streamId })),
};

const messages: CarrierMessages = {
  carrier: 'twilio',
  isOrdered: true,
  read: (message) => readEvent(schemas, message),
  media: (id, payload) => ({ event: 'media', streamSid: id, media: { payload } }),
  mark: (id, name) => ({ event: 'mark', streamSid: id, mark: { name } }),
  clear: (id) => ({ event: 'clear', streamSid: id }),
};

/**
 * Makes a leg of a socket that Twilio's Media Streams has opened (TwiML's `<Connect><Stream>`), once it has said which call
 * it is. The socket is paused until `listen` is called: whoever gets the leg has to listen, or to close it. The socket's
 * server should have `carrierSocketOptions`. Whether it is Twilio at all is for the caller to check, by its signature or a
 * token: `isTwilioSignature`, `SingleUseTokens`.
 *
 * @throws {SpillwayError} `carrier_refused` for what is not allowed or not in time, with the detail; the socket is closed.
 *   `carrier_lost`: the connection ended before. `invalid_option` for a number out of its range.
 *
 * @example
 * ```ts
 * import { acceptTwilio, carrierSocketOptions } from '@spillway/voice';
 * import { WebSocketServer } from 'ws';
 *
 * const server = new WebSocketServer({ ...carrierSocketOptions, host: '127.0.0.1', port: 8080 });
 * server.on('connection', async (socket) => {
 *   const leg = await acceptTwilio(socket);
 *   leg.listen((event) => console.log(event.kind));
 * });
 * ```
 */
export function acceptTwilio(socket: WebSocket, options: CarrierOptions = {}): Promise<CarrierLeg> {
  return acceptSocket(socket, messages, options);
}
