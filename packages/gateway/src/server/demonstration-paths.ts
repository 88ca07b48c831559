import type { FastifyInstance } from 'fastify';
import { GatewayError } from '@spillway/server/errors';
import type { Connections } from '../http/connections.ts';
import type { Voice } from '../voice/voice.ts';
import { hijack } from './hijack.ts';

/**
 * Adds the calls that are there to be heard. Each is a POST of the console's own page, and its answer lasts as long as the
 * call: a page that is closed ends it.
 */
export function addDemonstrations(
  server: FastifyInstance,
  voice: Pick<Voice, 'demonstrations'>,
  connections: Pick<Connections, 'answering'>,
): void {
  server.post('/playground/calls', (request, reply) => {
    const { demonstrations } = voice;
    if (demonstrations === undefined)
      throw new GatewayError(
        'not_found',
        'Calls to hear are only there with the simulated model, on loopback.',
      );
    const { refusal } = demonstrations;
    if (refusal !== undefined) throw refusal;
    const raw = hijack(reply);
    raw.writeHead(200, {
      'content-type': 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
    });
    raw.flushHeaders();
    demonstrations.show(raw, () => connections.answering(request.raw, raw));
  });
  server.post('/playground/calls/:id/interrupt', ({ params }) => {
    const { id } = params as { readonly id: string };
    if (voice.demonstrations?.interrupt(id) !== true)
      throw new GatewayError('not_found', 'There is no such call: it may have ended.');
    return { done: true };
  });
}
