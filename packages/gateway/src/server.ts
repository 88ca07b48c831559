import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { errorBody } from '@spillway/core/format/openai-chat';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import { ApiKeys } from './api-keys.ts';
import { readChatRequest } from './chat-request.ts';
import { isLoopback, type Provider, type Settings } from './config/load.ts';
import { asGatewayError, errorHeaders, GatewayError, overloaded } from './errors.ts';
import { listModels } from './list-models.ts';
import type { Relay } from './relay.ts';
import { RequestMemory } from './request-memory.ts';

export interface ServerOptions {
  readonly settings: Settings;
  /** The providers that are served: those of the settings, or the simulated one. */
  readonly providers: readonly Provider[];
  readonly relay: Relay;
  readonly log: Logger;
  /** Whether new streams are taken. */
  readonly isReady: () => boolean;
}

/** The listener that clients talk to. */
export function createServer({ settings, providers, relay, log, isReady }: ServerOptions): FastifyInstance {
  const { config } = settings;
  const keys = new ApiKeys(settings.apiKeys);
  const memory = new RequestMemory(config.maxRequestMemoryBytes);
  const logger: FastifyBaseLogger = log;
  const server: FastifyInstance = Fastify({
    loggerInstance: logger,
    // One line a stream is written instead, when it ends.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: config.maxRequestBytes,
    requestTimeout: config.requestTimeoutMs,
    forceCloseConnections: true,
    clientErrorHandler: refuseConnection,
    // A stopping gateway has to be able to say that it is.
    return503OnClosing: false,
    http: {
      maxHeaderSize: config.maxHeaderBytes,
      // Node swaps the two if this one is the longer.
      headersTimeout: Math.min(60_000, config.requestTimeoutMs),
      connectionsCheckingInterval: Math.min(30_000, config.requestTimeoutMs / 4),
      // What a reader does not take waits in the channel, not in its socket's buffer.
      highWaterMark: 4096,
    },
  });

  // Idle connections are bounded too. One more is closed by Node without an answer.
  server.server.maxConnections = 2 * (config.maxStreams + config.maxWaiting);

  // Bodies are handed on as they came, so they are not parsed on the way in.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );

  server.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown, config.maxRequestBytes);
    if (error.code === 'internal_error')
      log.error({ err: thrown, path: pathOf(request) }, 'a request failed');
    answer(reply, error);
  });
  server.setNotFoundHandler((request, reply) => {
    answer(reply, new GatewayError('not_found', `There is no ${request.method} ${pathOf(request)} here.`));
  });

  server.get('/health/live', () => ({ status: 'ok' }));
  server.get('/health/ready', (_request, reply) => {
    if (isReady()) return { status: 'ok' };
    return reply.code(503).send({ status: 'shutting_down' });
  });

  server.register((api, _options, done) => {
    guard(api, keys);

    api.get('/v1/models', async (request) => ({
      object: 'list',
      data: await listModels(providers, request.headers, relay, (provider, error) => {
        log.warn({ provider, reason: asGatewayError(error).message }, 'models could not be listed');
      }),
    }));

    api.route({
      method: 'POST',
      url: '/v1/chat/completions',
      onRequest: (request, reply, next) => {
        if (!isReady()) {
          answer(
            reply,
            new GatewayError('shutting_down', 'The gateway is shutting down.', { retryAfterS: 1 }),
          );
          return;
        }
        const length = Number(request.headers['content-length'] ?? config.maxRequestBytes);
        const release = memory.reserve(Math.min(length, config.maxRequestBytes));
        if (release === undefined) {
          answer(
            reply,
            overloaded(`Request bodies hold ${config.maxRequestMemoryBytes} bytes (maxRequestMemoryBytes).`),
          );
          return;
        }
        reply.raw.once('close', release);
        next();
      },
      handler: async (request, reply) => {
        if (!Buffer.isBuffer(request.body)) {
          throw new GatewayError('invalid_request', 'The body: expected a JSON object, got nothing.');
        }
        const chat = readChatRequest(request.body, providers);
        reply.hijack();
        await relay.chat(chat, request.headers, reply.raw);
      },
    });
    done();
  });
  return server;
}

/**
 * Lets only those in who may: with API keys, who has one; without, who is on this machine. A web page
 * could reach a loopback address under a name of its own (DNS rebinding), so the name is checked too.
 */
export function guard(server: FastifyInstance, keys: ApiKeys): void {
  server.addHook('onRequest', (request, reply, next) => {
    const refusal = keys.areRequired ? checkKey(keys, request) : checkHost(request);
    if (refusal === undefined) next();
    else answer(reply, refusal);
  });
}

function answer(reply: FastifyReply, error: GatewayError): void {
  void reply.code(error.status).headers(errorHeaders(error)).send(errorBody(error));
}

/** Fastify's own errors, in the provider's shape. */
function fromFastify(error: unknown, maxRequestBytes: number): GatewayError {
  const status = (error as { readonly statusCode?: number }).statusCode;
  switch (status) {
    case 408:
      return new GatewayError('request_timeout', 'The request did not arrive in time.', { cause: error });
    case 413:
      return new GatewayError(
        'request_too_large',
        `The body has more than ${maxRequestBytes} bytes (maxRequestBytes).`,
        { cause: error },
      );
    case 415:
      return new GatewayError('unsupported_media_type', 'The content type: expected application/json.', {
        cause: error,
      });
    default:
      if (status !== undefined && status >= 400 && status < 500 && !(error instanceof GatewayError)) {
        return new GatewayError('invalid_request', 'The request is malformed.', { cause: error, status });
      }
      return asGatewayError(error);
  }
}

function checkKey(keys: ApiKeys, request: FastifyRequest): GatewayError | undefined {
  if (keys.accepts(request.headers.authorization)) return undefined;
  return new GatewayError(
    'invalid_api_key',
    'Expected one of this gateway\'s API keys as "Authorization: Bearer …".',
  );
}

function checkHost(request: FastifyRequest): GatewayError | undefined {
  const hostname = request.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isLoopback(hostname)) return undefined;
  return new GatewayError(
    'host_not_allowed',
    'Without API keys, only requests to localhost, 127.0.0.1 or [::1] are answered.',
  );
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

/** Answers a connection whose request could not be read at all, in the provider's shape. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal = unreadable(error.code);
  const body = errorBody(refusal);
  const reason = STATUS_CODES[refusal.status] ?? '';
  socket.end(
    `HTTP/1.1 ${refusal.status} ${reason}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function unreadable(code: string | undefined): GatewayError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new GatewayError('request_timeout', 'The request did not arrive in time (requestTimeoutMs).');
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError('headers_too_large', 'The headers are too large (maxHeaderBytes).');
    default:
      return new GatewayError('invalid_request', 'The request is not valid HTTP.');
  }
}
