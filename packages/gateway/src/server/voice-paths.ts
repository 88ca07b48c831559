import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '@spillway/server/errors';
import { clientAddress } from '@spillway/server/http/client-address';
import type { RequestMemory } from '@spillway/server/memory/request-memory';
import type { Guard } from '../access/guard.ts';
import type { Config } from '../config/schema.ts';
import type { Connections } from '../http/connections.ts';
import { receiveBody } from '../http/receive-body.ts';
import { noSuchPath } from '../http/route.ts';
import { type CarrierRequest, signatureHeader } from '../voice/carrier-request.ts';
import { endedPath, voicePath } from '../voice/voice-path.ts';
import type { Voice } from '../voice/voice.ts';
import { guardRefusal, putRefusal } from './hooks.ts';

export interface VoicePathsOptions {
  readonly config: Pick<Config, 'minBytesPerSecond' | 'requestTimeoutMs'>;
  readonly connections: Pick<Connections, 'known'>;
  readonly guard: Guard;
  readonly memory: RequestMemory;
  /** Calls by telephone; `undefined`: they are not served. */
  readonly voice: () => Pick<Voice, 'asked' | 'followed' | 'isSigned' | 'unsignedRefusal'> | undefined;
}

/** The largest form of a carrier. One of Twilio has a thousand bytes. */
const maxFormBytes = 65_536;

/**
 * Adds the webhooks of a carrier. It has none of the gateway's keys: where it has to sign, its signature is its key, and without
 * one nothing of a request is read.
 */
export function addVoicePaths(server: FastifyInstance, options: VoicePathsOptions): void {
  const { connections, guard, voice } = options;
  putRefusal(server, (request) => {
    const served = voice();
    return served?.isSigned === true
      ? served.unsignedRefusal(requestOf(request))
      : guardRefusal(request, guard, connections);
  });
  const answers = [
    [voicePath, (served: Pick<Voice, 'asked'>, asked: CarrierRequest) => served.asked(asked)],
    [endedPath, (served: Pick<Voice, 'followed'>, asked: CarrierRequest) => served.followed(asked)],
  ] as const;
  for (const [path, answer] of answers) {
    server.post(path, async (request, reply) => {
      const served = voice();
      if (served === undefined) throw noSuchPath(`POST ${path}`);
      const form = await readForm(request, reply, options);
      const twiml = await answer(served, { ...requestOf(request), form });
      if (served.isSigned) connections.known(request.raw.socket);
      return reply.type('text/xml').send(twiml);
    });
  }
}

function requestOf({ headers, originalUrl }: FastifyRequest): Omit<CarrierRequest, 'form'> {
  return {
    host: headers.host ?? '',
    target: originalUrl,
    signature: headers[signatureHeader]?.toString(),
  };
}

async function readForm(
  { raw }: FastifyRequest,
  reply: FastifyReply,
  { config, memory }: VoicePathsOptions,
): Promise<CarrierRequest['form']> {
  const hold = memory.hold(clientAddress(raw));
  try {
    const body = await receiveBody(raw, reply.raw, {
      hold,
      maxBytes: maxFormBytes,
      scanner: undefined,
      timeoutMs: config.requestTimeoutMs,
      minBytesPerSecond: config.minBytesPerSecond,
    });
    const fields = new URLSearchParams(Buffer.concat(body?.parts() ?? []).toString());
    return Object.fromEntries(
      [...new Set(fields.keys())].map((name) => {
        const values = fields.getAll(name);
        return [name, values.length > 1 ? values : (values[0] ?? '')];
      }),
    );
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'request_too_large')
      throw new GatewayError('request_too_large', `The form has more than ${maxFormBytes} bytes.`);
    throw error;
  } finally {
    hold.release();
  }
}
