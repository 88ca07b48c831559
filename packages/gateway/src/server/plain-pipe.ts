import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { GatewayError, overloaded } from '@spillway/server/errors';
import type { Connections } from '../http/connections.ts';
import { hijack } from './hijack.ts';

/** The pipes that may be open at once. One more is answered with 503. */
const maxPipes = 8;
/** What may pile up in all of one pipe. Then it is cut: it is there to show, not to do harm. */
const maxBufferedBytes = 67_108_864;
/** The pipes that ended whose figures can still be asked for. */
const maxEnded = 16;

interface Pipe {
  takenBytes: number;
  readonly bufferedBytes: () => number;
  isEnded: boolean;
}

const query = z.object({ model: z.string().max(1024) });

/**
 * What Spillway is compared with in the playground: a proxy as people write it, which takes whatever a model sends
 * and writes it on, however fast its reader is.
 */
export function addPlainPipe(
  server: FastifyInstance,
  simulatorUrl: string,
  connections: Pick<Connections, 'answering'>,
): void {
  const pipes = new Map<string, Pipe>();

  // A POST: a page of another origin cannot send one without saying so.
  server.post('/playground/pipe', (incoming, reply) => {
    const { data } = query.safeParse(incoming.query);
    if (data === undefined) throw new GatewayError('invalid_request', 'model: expected a name, got none.');
    if ([...pipes.values()].filter(({ isEnded }) => !isEnded).length >= maxPipes) {
      throw overloaded(`There are ${maxPipes} pipes.`);
    }
    const id = randomUUID();
    const raw = hijack(reply);
    const pipe: Pipe = { takenBytes: 0, bufferedBytes: () => raw.writableLength, isEnded: false };
    pipes.set(id, pipe);
    forget(pipes);
    const onward = request(`${simulatorUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    onward.on('response', (answer) => {
      raw.writeHead(answer.statusCode ?? 502, {
        'content-type': 'text/event-stream; charset=utf-8',
        'x-pipe': id,
      });
      raw.flushHeaders();
      answer.on('data', (bytes: Buffer) => {
        pipe.takenBytes += bytes.length;
        raw.write(bytes);
        if (raw.writableLength > maxBufferedBytes) raw.destroy();
      });
      answer.on('end', () => {
        raw.end();
        connections.answering(incoming.raw, raw);
      });
      answer.on('error', () => raw.destroy());
    });
    onward.on('error', () => raw.destroy());
    raw.on('close', () => {
      pipe.isEnded = true;
      onward.destroy();
    });
    onward.end(JSON.stringify({ model: data.model, stream: true, messages: [] }));
  });

  server.get('/playground/pipe/:id', (incoming) => {
    const pipe = pipes.get((incoming.params as { readonly id: string }).id);
    if (pipe === undefined) throw new GatewayError('not_found', 'There is no such pipe.');
    return { takenBytes: pipe.takenBytes, bufferedBytes: pipe.bufferedBytes(), isEnded: pipe.isEnded };
  });
}

function forget(pipes: Map<string, Pipe>): void {
  const ended = [...pipes].filter(([, { isEnded }]) => isEnded);
  for (const [id] of ended.slice(0, Math.max(0, ended.length - maxEnded))) pipes.delete(id);
}
