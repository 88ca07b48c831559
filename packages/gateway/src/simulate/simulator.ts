import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { listeningUrl } from '../http/listening-url.ts';
import { type Behaviour, BehaviourError, checked, readBehaviour } from './behaviour.ts';
import { ByteWriter } from './byte-writer.ts';
import { Capacities, type Capacity, type Place, readCapacity } from './capacity.ts';
import { type Endpoint, endpointOf, errorFormat, generatePaths } from './endpoints.ts';
import { readRecording } from './recording.ts';
import type { ReplyFormat, SimulatedReply } from './reply-format.ts';
import { bodyAnswers, sideAnswer } from './side-answers.ts';
import { Stats } from './stats.ts';
import { talk } from './talk.ts';
import { replyText } from './tokens.ts';
import { eventsOf, pause, writeStream } from './write-stream.ts';

export interface SimulatorOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The folder whose `.jsonl` files requests may replay. Default: none may. */
  readonly recordings?: string | undefined;
  /** How much is done at once; `POST /simulate/capacity` changes it. Default: any number. */
  readonly capacities?: readonly Capacity[] | undefined;
}

/** A running simulated provider. */
export interface Simulator {
  /** Without `/v1` and without a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

/** Says in each answer that no model made it. A gateway passes it on. */
const simulatedHeader = 'x-spillway-simulated';

const maxBodyBytes = 64 * 1024 * 1024;
const generateRequest = z.looseObject({
  model: z.string().default('sim'),
  stream: z.boolean().nullish(),
  messages: z.unknown().optional(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
});

/**
 * Starts a provider with the APIs of OpenAI, Anthropic and Gemini that generates nothing: see
 * {@link Behaviour} for what it can do.
 */
export async function openSimulator({
  capacities: given = [],
  host,
  port,
  recordings,
}: SimulatorOptions): Promise<Simulator> {
  // Loaded here, because who has a provider does not need it.
  const { createSimulatedModelDoor } = await import('@spillway/voice/simulate/model');
  const realtime = createSimulatedModelDoor();
  const stats = new Stats();
  const failures = new Map<string, number>();
  const capacities = new Capacities();
  for (const capacity of given) capacities.set(capacity);
  const server = createServer((request, response) => {
    response.setHeader(simulatedHeader, 'true');
    handle(request, response, { capacities, stats, failures, recordings }).catch((error: unknown) => {
      if (error instanceof BehaviourError && !response.headersSent) {
        const { message } = error;
        const problem = { status: 400, message, type: 'invalid_request_error', code: 'invalid_behaviour' };
        sendJson(response, 400, errorFormat(pathOf(request), request.headers).error(problem));
      } else {
        response.destroy(error as Error);
      }
    });
  });
  server.on('upgrade', (request, socket, head) => realtime.upgrade(request, socket, head));
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
        // These are the server's no more.
        realtime.close();
      }),
  };
}

interface Context {
  readonly capacities: Capacities;
  readonly stats: Stats;
  /** How often a model name with `times` has failed. */
  readonly failures: Map<string, number>;
  readonly recordings: string | undefined;
}

async function handle(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const path = pathOf(request);
  const method = request.method ?? '';
  const answer = sideAnswer(method, path, request.headers);
  const bodyAnswer = method === 'POST' ? bodyAnswers.get(path) : undefined;
  const endpoint = method === 'POST' ? endpointOf(path) : undefined;
  if (method === 'GET' && path === '/stats') {
    sendJson(response, 200, context.stats.report());
  } else if (path === '/simulate/capacity' && (method === 'GET' || method === 'POST')) {
    if (method === 'POST') context.capacities.set(readCapacity(parseJson(await readBody(request))));
    sendJson(response, 200, context.capacities.report());
  } else if (answer !== undefined) {
    sendJson(response, 200, answer);
  } else if (bodyAnswer !== undefined) {
    sendJson(response, 200, bodyAnswer(parseJson(await readBody(request))));
  } else if (endpoint === undefined) {
    const type = 'invalid_request_error';
    const message = `The simulated provider has no ${method} ${path}. It answers POST to ${generatePaths}, and Gemini's generateContent.`;
    const problem = { status: 404, message, type, code: 'not_found' };
    sendJson(response, 404, errorFormat(path, request.headers).error(problem));
  } else {
    await generate(endpoint, request, response, context);
  }
}

async function generate(
  endpoint: Endpoint,
  request: IncomingMessage,
  response: ServerResponse,
  context: Context,
): Promise<void> {
  const body = checked(generateRequest, parseJson(await readBody(request)));
  const { format, model = body.model, stream = body.stream === true } = endpoint;
  const behaviour = readBehaviour(model, request.headers['x-simulate'] as string | undefined);
  const { capacities, stats } = context;
  // Who has left already would never leave its place.
  if (response.destroyed) return;
  const place = capacities.enter(model.split(':', 1)[0] ?? model);
  response.once('close', () => place.leave());
  const writer = new ByteWriter(response, behaviour);
  const own = stats.open(model, (current) => {
    current.bytes = writer.bytes;
    current.pendingBytes = response.socket?.writableLength ?? 0;
  });
  response.once('close', () => stats.end(own, response.writableFinished ? 'finished' : 'left'));
  if (answerRefusal(response, place, format)) {
    stats.end(own, 'refused');
    return;
  }
  await pause(behaviour.headers * place.share, response);
  if (response.destroyed || answerFault(response, behaviour, model, format, context)) return;
  const reply: SimulatedReply = {
    number: own.id,
    model,
    createdS: Math.floor(Date.now() / 1000),
    withUsage: body.stream_options?.include_usage === true,
  };
  const { replay, size, tps, ttft } = behaviour;
  const words = behaviour.talk ? talk(body.messages) : undefined;
  const { length: tokens } = words ?? { length: behaviour.tokens };
  // Gemini streams events only to those who ask for them.
  const isEvents = stream && (endpoint.stream === undefined || queryOf(request).get('alt') === 'sse');
  if (isEvents) {
    const recording = replay === undefined ? undefined : await readRecording(replay, context.recordings);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    response.flushHeaders();
    const events = eventsOf(format, reply, behaviour, { recording, words });
    await writeStream(events, behaviour, writer, place, own, response);
    if (behaviour.cut !== undefined && response.destroyed) stats.end(own, 'cut');
  } else {
    await pause(place.share * (ttft + (tps === 0 ? 0 : (tokens / tps) * 1000)), response);
    const whole = format.whole(reply, words?.join('') ?? replyText(tokens, size), tokens);
    if (!response.destroyed) sendJson(response, 200, stream ? [whole] : whole);
    own.tokens = tokens;
  }
}

/** Says what is left, and refuses what is too much; `false` if it is not. */
function answerRefusal(response: ServerResponse, { budget, refusal }: Place, format: ReplyFormat): boolean {
  const { refusals } = format;
  if (budget !== undefined) response.setHeaders(new Map(Object.entries(refusals.headers(budget))));
  if (refusal === undefined) return false;
  const { message, retryAfterS, status } = refusal;
  response.setHeader('retry-after', retryAfterS);
  const words = status === 429 ? refusals.limited : refusals.overloaded;
  sendJson(response, status, format.error({ status, message, ...words }));
  return true;
}

/** Answers with one of the faults that come instead of a reply; `false` if there is none. */
function answerFault(
  response: ServerResponse,
  { hangup, html, retryAfter, status, times }: Behaviour,
  model: string,
  format: ReplyFormat,
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
  const message = `Simulated status ${status}.`;
  const fault = { status, message, type: 'simulated_error', code: `simulated_${status}` };
  sendJson(response, status, format.error(fault));
  return true;
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? '';
}

function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  return new URLSearchParams(url.split('?').slice(1).join('?'));
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
    throw new BehaviourError('The body: expected JSON, got something else.');
  }
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
