import type { AudioFormat } from '@spillway/core/audio';
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

const encodings = { PCMA: 'alaw', PCMU: 'mulaw' } as const;
const streamName = z.string().min(1).max(200);

const schemas: EventSchemas = {
  connected: z.looseObject({}).transform(() => ({ kind: 'connected' as const })),
  start: z
    .looseObject({
      stream_id: streamName,
      start: z.looseObject({
        call_control_id: z.string().min(1).max(200),
        client_state: z.string().nullish(),
        custom_parameters: z.record(z.string(), z.string()).nullish(),
        media_format: z.looseObject({
          encoding: z.enum(['PCMU', 'PCMA']),
          sample_rate: z.literal(8000),
          channels: z.literal(1),
        }),
      }),
    })
    .transform(({ start, stream_id: streamId }) => {
      const { call_control_id: callId, client_state: clientState, custom_parameters: parameters } = start;
      const format: AudioFormat = { encoding: encodings[start.media_format.encoding], sampleRateHz: 8000 };
      return {
        kind: 'start' as const,
        format,
        call: {
          carrier: 'telnyx',
          callId,
          streamId,
          parameters: { ...parameters, ...(clientState ? { client_state: clientState } : {}) },
        },
      };
    }),
  media: z
    .looseObject({
      stream_id: streamName,
      media: z.looseObject({ track: z.string(), chunk: digits, timestamp: digits, payload: base64 }),
    })
    .transform(({ media: { chunk, payload, timestamp, track }, stream_id: streamId }) => ({
      kind: 'media' as const,
      streamId,
      isInbound: track === 'inbound',
      chunk,
      timestampMs: timestamp,
      audio: payload,
    })),
  dtmf: z
    .looseObject({ stream_id: streamName, dtmf: z.looseObject({ digit: z.string() }) })
    .transform(({ dtmf: { digit }, stream_id: streamId }) => pressed(streamId, digit)),
  mark: z
    .looseObject({ stream_id: streamName, mark: z.looseObject({ name: z.string() }) })
    .transform(({ mark: { name }, stream_id: streamId }) => ({ kind: 'mark' as const, streamId, name })),
  error: z.looseObject({}).transform(() => ({ kind: 'notice' as const })),
  stop: z
    .looseObject({ stream_id: streamName })
    .transform(({ stream_id: streamId }) => ({ kind: 'stop' as const, streamId })),
};

const messages: CarrierMessages = {
  carrier: 'telnyx',
  isOrdered: false,
  read: (message) => readEvent(schemas, message),
  media: (id, payload) => ({ event: 'media', stream_id: id, media: { payload } }),
  mark: (id, name) => ({ event: 'mark', stream_id: id, mark: { name } }),
  clear: (id) => ({ event: 'clear', stream_id: id }),
};

/**
 * Makes a leg of a socket that Telnyx's media streaming has opened, once it has said which call it is: as `acceptTwilio`
 * does. The stream has to be two-way by RTP (`stream_bidirectional_mode: rtp`, `stream_bidirectional_codec: PCMU` or
 * `PCMA`, as the call's own codec). Telnyx promises no order of the audio: 5 pieces, 100 ms, wait for one that is late. The
 * call's `client_state` is among its parameters, as Telnyx has written it.
 *
 * @throws {SpillwayError} `carrier_refused`, `carrier_lost`, `invalid_option`: as of `acceptTwilio`.
 */
export function acceptTelnyx(socket: WebSocket, options: CarrierOptions = {}): Promise<CarrierLeg> {
  return acceptSocket(socket, messages, options);
}
