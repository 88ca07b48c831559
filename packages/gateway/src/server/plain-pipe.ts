import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { GatewayError, overloaded } from '@spillway/server/errors';
import type { Connections } from '../http/connections.ts';
import { readQuery } from './admin-query.ts';
import { hijack } from './hijack.ts';

/** The most pipes that may be open at once. One more is answered with 503. */
const maxPipes = 8;
/** The most bytes that may wait in one pipe. At that size the pipe is cut, so that the demonstration does no harm. */
const maxBufferedBytes = 67_108_864;
/** The most ended pipes whose figures can still be read. */
const maxEnded = 16;

interface Pipe {
  takenBytes: number;
  readonly bufferedBytes: () => number;
  isEnded: boolean;
}

const modelText = 'expected a name of at most 1024 characters';
const pipeQuery = z.strictObject({ model: z.string(modelText).max(1024, modelText) });

/**
 * Adds the proxy that the playground compares with Spillway. It is written the usual way: it takes all that a model
 * sends and writes it on, however fast its reader is.
 */
export function addPlainPipe(
  server: FastifyInstance,
  simulatorUrl: string,
  connections: Pick<Connections, 'answering'>,
): void {
  const pipes = new Map<string, Pipe>();

  // A POST, because a browser names the origin of another page's POST.
  server.post('/playground/pipe', (incoming, reply) => {
    const { model } = readQuery(pipeQuery, incoming.query);
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
    onward.end(JSON.stringify({ model, stream: true, messages: [] }));
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
