import { clientLeft } from '@spillway/server/errors';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Provider } from '../config/provider.ts';
import { routeOf } from '../http/route.ts';
import { allowedName } from '../limit/allowed-name.ts';
import {
  askedModels,
  type ListingApi,
  members,
  ownModel,
  ownModels,
  ownNames,
} from '../provider/models/own-models.ts';
import type { ModelLists } from '../provider/models/model-lists.ts';
import { withModels } from '../provider/models/read-models.ts';
import type { Served } from '../config/read-models.ts';
import { hijack } from './hijack.ts';

interface AnsweredModels {
  /** What is served now. */
  readonly served: Served;
  /** The patterns of the models that the client may use; `undefined`: all. */
  readonly allowed: readonly string[] | undefined;
  readonly lists: ModelLists;
  /** A client that does not take the answer within so many milliseconds is disconnected. */
  readonly timeoutMs: number;
}

interface GatherAllOptions extends Pick<AnsweredModels, 'allowed' | 'lists'> {
  readonly providers: readonly Provider[];
  /** Models in the form of a list's. */
  readonly own: Buffer;
}

/** A list of models in pieces, whose memory is held until it is released. */
interface GatheredModels {
  readonly parts: readonly Buffer[];
  readonly release: () => void;
}

/** Whether a request asks for OpenAI's list of models, which combines all its providers. */
export function isModelList(request: FastifyRequest): boolean {
  const asked = askedModels(request.method, routeOf(request));
  return asked?.api === 'openai' && asked.name === undefined;
}

/**
 * Answers a request for models: OpenAI's list with the models of all its providers, the first page of Anthropic's and Gemini's if there
 * are names of the operator's own to stand in it, and what such a name is. A list of names goes without those of providers where no
 * provider gives any. Returns whether it is answered; if not, that is for the provider to do.
 *
 * @throws {GatewayError} if no provider lists any, and there are no names.
 */
export async function answerModels(
  request: FastifyRequest,
  reply: FastifyReply,
  options: AnsweredModels,
): Promise<boolean> {
  const { allowed, served, timeoutMs } = options;
  const route = routeOf(request);
  const asked = askedModels(request.method, route);
  if (asked === undefined) return false;
  const { api, name } = asked;
  const names = ownNames(served.models, api, allowed);
  if (name !== undefined) {
    if (!names.includes(name)) return false;
    void reply.type(jsonType).send(ownModel(api, name));
    return true;
  }
  const providers = served.providers.filter((provider) => provider.api === api);
  const [first] = providers;
  if (first === undefined || (api !== 'openai' && names.length === 0)) return false;
  const own = ownModels(api, names);
  const { headers } = request;
  const gather = async (signal: AbortSignal): Promise<GatheredModels> => {
    try {
      if (api === 'openai') return await gatherAll(headers, { ...options, own, providers }, signal);
      const page = await options.lists.page(first, route, headers, signal);
      const parts = withModels(page.bytes, members[api], own);
      if (parts !== undefined) return { parts, release: () => page.release() };
      page.release();
    } catch (error) {
      if (signal.aborted || names.length === 0) throw error;
    }
    return { parts: listOf(api, names), release: () => undefined };
  };
  await answerGathered(reply, gather, timeoutMs);
  return true;
}

const jsonType = 'application/json; charset=utf-8';

/** The models of all providers of OpenAI's API, behind those that are the operator's own. */
async function gatherAll(
  headers: IncomingHttpHeaders,
  { allowed, lists, own, providers }: GatherAllOptions,
  signal: AbortSignal,
): Promise<GatheredModels> {
  const nameOf =
    allowed && ((id: string): string | undefined => allowedName(allowed, id, providers[0]?.name));
  const found = await lists.ask(providers, headers, signal, nameOf);
  const filled = [own, ...found.map(({ bytes }) => bytes)].filter(({ length }) => length > 0);
  const comma = Buffer.from(',');
  return {
    parts: [
      Buffer.from('{"object":"list","data":['),
      ...filled.flatMap((bytes, index) => (index === 0 ? [bytes] : [comma, bytes])),
      Buffer.from(']}'),
    ],
    release: () => {
      for (const list of found) list.release();
    },
  };
}

/** A list of the operator's own names alone, as a client of an API gets it. */
function listOf(api: ListingApi, names: readonly string[]): readonly Buffer[] {
  const list = {
    openai: { object: 'list', data: [] },
    anthropic: { data: [], has_more: false, first_id: names[0], last_id: names.at(-1) },
    gemini: { models: [] },
  }[api];
  const body = Buffer.from(JSON.stringify(list));
  return withModels(body, members[api], ownModels(api, names)) ?? [body];
}

/** Answers with what is gathered, as JSON. A client that leaves meanwhile gets nothing. */
async function answerGathered(
  reply: FastifyReply,
  gather: (signal: AbortSignal) => Promise<GatheredModels>,
  timeoutMs: number,
): Promise<void> {
  const leaving = new AbortController();
  const stopWatching = watchLeaving(reply.raw, () => leaving.abort(clientLeft('left')));
  try {
    const { parts, release } = await gather(leaving.signal);
    const raw = hijack(reply);
    if (raw.destroyed) {
      // The response is closed already and does not emit `close` again.
      release();
      return;
    }
    const timer = setTimeout(() => raw.destroy(), timeoutMs);
    raw.once('close', () => {
      clearTimeout(timer);
      release();
    });
    send(raw, parts);
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
    void reply.hijack();
  } finally {
    stopWatching();
  }
}

/** Writes the pieces without a copy, so that answers that wait for their clients hold none. */
function send(raw: ServerResponse, parts: readonly Buffer[]): void {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  raw.writeHead(200, { 'content-type': jsonType, 'content-length': length });
  for (const part of parts) raw.write(part);
  raw.end();
}

/** Calls `onLeave` when the client closes its connection, or its sending half. Returns a function that ends the watch. */
function watchLeaving(response: ServerResponse, onLeave: () => void): () => void {
  const { socket } = response.req;
  const onHalfClosed = (): void => {
    onLeave();
    response.destroy();
  };
  response.on('close', onLeave);
  socket.on('end', onHalfClosed);
  if (response.destroyed || socket.destroyed) onLeave();
  else if (socket.readableEnded) onHalfClosed();
  return () => {
    response.off('close', onLeave);
    socket.off('end', onHalfClosed);
  };
}
