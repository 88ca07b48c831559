import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { listeningUrl } from '../listening-url.ts';
import { type Behaviour, BehaviourError, readBehaviour } from './behaviour.ts';
import { ByteWriter } from './byte-writer.ts';
import { ChatEvents, type ChatReply, completion, errorJson, tokenText } from './chat-events.ts';
import { type RequestStats, Stats } from './stats.ts';

export interface SimulatorOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The folder whose `.jsonl` files requests may replay. Default: none may. */
  readonly recordings?: string | undefined;
}

/** A running simulated provider. */
export interface Simulator {
  /** Without `/v1` and without a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

const maxBodyBytes = 64 * 1024 * 1024;
const chatRequest = z.looseObject({
  model: z.string().default('sim'),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
});

/** Starts an OpenAI-compatible provider that generates nothing: see {@link Behaviour} for what it can do. */
export async function openSimulator({ host, port, recordings }: SimulatorOptions): Promise<Simulator> {
  const stats = new Stats();
  const failures = new Map<string, number>();
  const server = createServer((request, response) => {
    handle(request, response, { stats, failures, recordings }).catch((error: unknown) => {
      if (error instanceof BehaviourError && !response.headersSent) {
        sendJson(response, 400, errorJson(error.message, 'invalid_request_error', 'invalid_behaviour'));
      } else {
        response.destroy(error as Error);
      }
    });
  });
  await new Promise<void>((listening, failed) => {
    server.once('error', failed);
    server.listen(port, host, listening);
  });
  return {
    url: listeningUrl(server),
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}

interface Context {
  readonly stats: Stats;
  /** How often a model name with `times` has failed. */
  readonly failures: Map<string, number>;
  readonly recordings: string | undefined;
}

async function handle(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const path = request.url?.split('?', 1)[0];
  if (request.method === 'GET' && path === '/stats') {
    sendJson(response, 200, JSON.stringify(context.stats.report()));
  } else if (request.method === 'GET' && path === '/v1/models') {
    const model = { id: 'sim', object: 'model', created: 0, owned_by: 'simulated' };
    sendJson(response, 200, JSON.stringify({ object: 'list', data: [model] }));
  } else if (request.method === 'POST' && path === '/v1/chat/completions') {
    await chat(request, response, context);
  } else {
    sendJson(response, 404, errorJson('There is nothing here.', 'invalid_request_error', 'not_found'));
  }
}

async function chat(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const body = chatRequest.safeParse(parseJson(await readBody(request)));
  if (!body.success) throw new BehaviourError(`The body: ${body.error.issues[0]?.message}`);
  const { model, stream, stream_options: streamOptions } = body.data;
  const behaviour = readBehaviour(model, request.headers['x-simulate'] as string | undefined);
  const { stats } = context;
  const writer = new ByteWriter(response, behaviour);
  const own = stats.open(model, (current) => {
    current.bytes = writer.bytes;
    current.pendingBytes = response.socket?.writableLength ?? 0;
  });
  response.once('close', () => stats.end(own, response.writableFinished ? 'finished' : 'left'));
  await pause(behaviour.headers, response);
  if (response.destroyed || answerFault(response, behaviour, model, context)) return;
  const reply: ChatReply = {
    id: `chatcmpl-sim-${String(own.id).padStart(8, '0')}`,
    model,
    createdS: Math.floor(Date.now() / 1000),
    withUsage: streamOptions?.include_usage === true,
  };
  if (stream === true) {
    const events = await eventsOf(reply, behaviour, context.recordings);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    response.flushHeaders();
    await writeStream(events, behaviour, writer, own, response);
    if (behaviour.cut !== undefined && response.destroyed) stats.end(own, 'cut');
  } else {
    const { tokens, tps, ttft } = behaviour;
    await pause(ttft + (tps === 0 ? 0 : (tokens / tps) * 1000), response);
    if (!response.destroyed) sendJson(response, 200, completion(reply, behaviour));
    own.tokens = tokens;
  }
}

/** Answers with one of the faults that come instead of a reply; `false` if there is none. */
function answerFault(
  response: ServerResponse,
  { hangup, html, retryAfter, status, times }: Behaviour,
  model: string,
  { failures }: Context,
): boolean {
  if (times !== undefined) {
    const failed = failures.get(model) ?? 0;
    if (failed >= times) return false;
    if (failures.size < 1000) failures.set(model, failed + 1);
  }
  if (hangup) {
    response.destroy();
    return true;
  }
  if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
  if (html) {
    response.writeHead(status ?? 502, { 'content-type': 'text/html' });
    response.end('<html><body><h1>Bad Gateway</h1></body></html>');
    return true;
  }
  if (status === undefined) return false;
  sendJson(
    response,
    status,
    errorJson(`Simulated status ${status}.`, 'simulated_error', `simulated_${status}`),
  );
  return true;
}

/** The tokens of a reply and what comes behind the last one. */
interface Events {
  readonly tokens: number;
  first(): string;
  token(index: number): string;
  end(): Iterable<string>;
}

async function eventsOf(
  reply: ChatReply,
  behaviour: Behaviour,
  recordings: string | undefined,
): Promise<Events> {
  if (behaviour.replay !== undefined) {
    const lines = (await readRecording(behaviour.replay, recordings))
      .split('\n')
      .filter((line) => line !== '');
    return {
      tokens: lines.length,
      first: () => '',
      token: (index) => `data: ${lines[index]}\n\n`,
      end: () => ['data: [DONE]\n\n'],
    };
  }
  const events = new ChatEvents(reply);
  const { line, size, tokens } = behaviour;
  return {
    tokens,
    first: () => events.role(),
    token: (index) =>
      index === 0 && line !== undefined ? events.line(line) : events.token(tokenText(index, size)),
    end: () => events.end(tokens),
  };
}

async function writeStream(
  events: Events,
  behaviour: Behaviour,
  writer: ByteWriter,
  stats: RequestStats,
  response: ServerResponse,
): Promise<void> {
  const { batch, comments, error, stall, tps, trailing, ttft, unmarked, unterminated } = behaviour;
  const tokens = Math.min(events.tokens, comments ?? Infinity, error ?? Infinity, stall ?? Infinity);
  let pending = events.first();
  await pause(ttft, response);
  const startedMs = performance.now();
  for (let index = 0; index < tokens; index += batch) {
    if (tps > 0) await pause(startedMs + (index * 1000) / tps - performance.now(), response);
    for (let next = index; next < Math.min(index + batch, tokens); next += 1) pending += events.token(next);
    if (!(await writer.write(pending))) return;
    stats.tokens = Math.min(index + batch, tokens);
    pending = '';
  }
  if (stall !== undefined && stall <= tokens) {
    if (pending !== '') await writer.write(pending);
    stats.state = 'stalled';
    return;
  }
  if (comments !== undefined) {
    while (await writer.write(': keep-alive\n\n')) await pause(10, response);
    return;
  }
  if (error !== undefined) {
    pending += new ChatEvents({ id: '', model: '', createdS: 0, withUsage: false }).error();
  } else {
    for (const event of events.end()) if (!unmarked || !event.includes('[DONE]')) pending += event;
    if (unterminated) pending = pending.slice(0, -1);
  }
  if (await writer.write(pending)) response.end('x'.repeat(trailing ?? 0));
}

/** Waits, but not for somebody who has left. */
async function pause(delayMs: number, response: ServerResponse): Promise<void> {
  if (delayMs <= 0 || response.destroyed) return;
  const left = new AbortController();
  const leave = (): void => left.abort();
  response.once('close', leave);
  await sleep(delayMs, undefined, { signal: left.signal }).catch(() => undefined);
  response.off('close', leave);
}

async function readRecording(name: string, folder: string | undefined): Promise<string> {
  if (folder === undefined)
    throw new BehaviourError('replay: the simulator was started without --recordings');
  const root = resolve(folder);
  const path = resolve(root, `${name}.jsonl`);
  if (!path.startsWith(root + sep))
    throw new BehaviourError('replay: expected a path below the recordings folder');
  return await readFile(path, 'utf8').catch(() => {
    throw new BehaviourError(`replay: there is no recording ${JSON.stringify(name)}`);
  });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBodyBytes) throw new BehaviourError(`The body: expected at most ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BehaviourError('The body: expected JSON');
  }
}

function sendJson(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
