import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Timer } from '@spillway/core/clock';
import { type Caller, holderOf, setCaller } from '@spillway/server/access/caller';
import { streamClient } from '@spillway/server/access/stream-client';
import type { Admission } from '@spillway/server/admission/admission';
import type { Place } from '@spillway/server/admission/place';
import type { Defects } from '@spillway/server/defects';
import { asGatewayError, clientLeft, GatewayError, overloaded, shuttingDown } from '@spillway/server/errors';
import { clientAddress } from '@spillway/server/http/client-address';
import { requestIdHeader, requestIdOf } from '@spillway/server/http/request-id';
import type { RequestMemory } from '@spillway/server/memory/request-memory';
import type { SessionDoor } from '@spillway/server/session/sessions';
import type { Links } from '@spillway/server/sink/link';
import { StreamTokens } from '@spillway/server/stream/stream-token';
import type { Tap } from '@spillway/server/stream/tap';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import type { Guard } from '../access/guard.ts';
import type { Config } from '../config/schema.ts';
import { providerHeaders } from '../http/headers.ts';
import { requestRefusal, readTarget } from '../http/request-target.ts';
import { type ConversationLease, sumOf } from '../limit/conversation-lease.ts';
import type { Limiter } from '../limit/limiter.ts';
import type { StreamUsage } from '../limit/stream-usage.ts';
import type { ProviderGates } from '../provider/gate/provider-gates.ts';
import type { Targets } from '../provider/targets.ts';
import type { Served } from '../config/read-models.ts';
import { targetsInOrder } from '../provider/gate/targets-in-order.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import {
  type DirectionFigures,
  type RealtimeEndReason,
  realtimeEndReasons,
  realtimeSides,
} from '../telemetry/realtime-end.ts';
import { RealtimeLines } from '../telemetry/realtime-lines.ts';
import type { MeteredRealtime } from '../telemetry/realtime-metrics.ts';
import type { RealtimeSpan, Tracing } from '../telemetry/tracing.ts';
import { EarlyBytes } from './early-bytes.ts';
import { openProviderSocket, type ProviderSocket } from './open-provider-socket.ts';
import {
  isRealtimePath,
  plainHeaders,
  readRealtimeRequest,
  type RealtimeRequest,
} from './realtime-request.ts';
import { RecordedConversation } from './recorded-conversation.ts';
import { RealtimeSession } from './realtime-session.ts';
import { sessionModel } from './session-model.ts';
import { socketBounds } from './socket-bounds.ts';

export interface RealtimeSessionsOptions {
  readonly admission: Admission;
  readonly clock: ServerClock;
  readonly config: Config;
  readonly defects: Defects;
  readonly door: Pick<SessionDoor, 'known' | 'refuse'>;
  readonly guard: Pick<Guard, 'identify' | 'keyRefusal' | 'needsKey' | 'upgradeRefusal'>;
  readonly isReady: () => boolean;
  /** Holds conversations against limits; `undefined`: nobody has any. */
  readonly limiter: () => Pick<Limiter, 'conversation'> | undefined;
  readonly log: Pick<Logger, 'info'>;
  readonly links: Pick<Links, 'name' | 'watch'>;
  readonly memory: RequestMemory;
  readonly metrics: Pick<Metrics, 'unknownPrefixes'>;
  /** What stands before providers: a target that is not asked now is left out. */
  readonly gates: Pick<ProviderGates, 'find'>;
  /** What is served now. */
  readonly served: () => Served;
  readonly taps: Iterable<Tap>;
  readonly targets: Targets;
  readonly tracing: Tracing | undefined;
  /** Counts what they have used; `undefined`: nobody asks for that. */
  readonly usage: () => Pick<StreamUsage, 'priceAt' | 'talked'> | undefined;
}

/** The subprotocol of the API, which browsers offer beside the one that has the key. */
const subprotocol = 'realtime';
/** How long a provider may take to answer a close frame. */
const closeTimeoutMs = 1000;

/** An upgrade request that may be accepted. */
interface Asked {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly target: string;
  readonly caller: Caller;
  /** Its headers without those of a WebSocket. */
  readonly headers: IncomingMessage['headers'];
}

/**
 * The conversations that clients have with realtime models through this gateway. One file, because whatever ends the opening of one
 * has to give back the same things: its place, its lease, its record and both sockets.
 */
export class RealtimeSessions {
  readonly #options: RealtimeSessionsOptions;
  readonly #sockets: WebSocketServer;
  readonly #lines: RealtimeLines;
  readonly #tokens: StreamTokens;
  /** With their tenants. */
  readonly #sessions = new Map<RealtimeSession, string>();
  /** Upgrade requests that have not been answered. */
  readonly #opening = new Set<AbortController>();
  readonly #timer: Timer;
  /** All reasons, so that the first conversation of one has a rate. */
  readonly #ended = Object.fromEntries(realtimeEndReasons.map((reason) => [reason, 0])) as Record<
    RealtimeEndReason,
    number
  >;
  readonly #over = { client: noFigures(), provider: noFigures() };
  #onEmpty: (() => void) | undefined;

  constructor(options: RealtimeSessionsOptions) {
    this.#options = options;
    const { clock, config, door, log } = options;
    this.#lines = new RealtimeLines(log, clock);
    this.#tokens = new StreamTokens(clock);
    // The types do not know `closeTimeout` yet.
    const serverOptions: ServerOptions & { readonly closeTimeout: number } = {
      ...socketBounds,
      noServer: true,
      clientTracking: false,
      handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
      // A client of a slow link may have to take what the provider said before it closed.
      closeTimeout: config.stallTimeoutMs,
    };
    this.#sockets = new WebSocketServer(serverOptions);
    this.#sockets.on('wsClientError', ({ message }: Error, _socket, request: IncomingMessage) => {
      door.refuse(request, new GatewayError('invalid_request', `${message}.`));
    });
    this.#sockets.on('headers', (headers, request) => {
      const id = requestIdOf(request);
      if (id !== undefined) headers.push(`${requestIdHeader}: ${id}`);
    });
    const everyMs = Math.min(1000, Math.max(25, Math.min(config.keepAliveMs, config.stallTimeoutMs) / 8));
    this.#timer = clock.every(everyMs, () => this.#tick());
  }

  /** The conversations that run, or are about to. */
  get liveCount(): number {
    return this.#sessions.size + this.#opening.size;
  }

  /** The tenants of those that run, one for each. */
  get tenants(): Iterable<string> {
    return this.#sessions.values();
  }

  get metered(): MeteredRealtime {
    const totals = { client: { ...this.#over.client }, provider: { ...this.#over.provider } };
    for (const session of this.#sessions.keys()) {
      for (const side of realtimeSides) {
        add(totals[side], session.figuresTo(side));
        totals[side].maxWaitingBytes = Math.max(totals[side].maxWaitingBytes, session.waitingBytesFor(side));
      }
    }
    return { size: this.#sessions.size, ended: { ...this.#ended }, totals };
  }

  /** Takes an upgrade request, if it is for a conversation. Returns whether it was. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const target = readTarget(request.url ?? '');
    if (target === undefined || !isRealtimePath(target.split('?')[0] ?? '')) return false;
    const headers = plainHeaders(request.headers);
    const caller = this.#admit(request, socket, headers);
    if (caller instanceof GatewayError) this.#options.door.refuse(request, caller);
    else void this.#open({ request, socket, head, target, caller, headers });
    return true;
  }

  /** Waits until no conversation runs; after the deadline `onDeadline` is called. */
  async drainAll(deadlineMs: number, onDeadline: () => void): Promise<void> {
    if (this.liveCount === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      this.#options.clock.after(deadlineMs, onDeadline).unref();
    });
  }

  /** Ends all conversations. */
  cancelAll(): void {
    for (const opening of this.#opening) opening.abort(shuttingDown());
    for (const session of this.#sessions.keys()) session.stop();
  }

  /** Ends what is left. */
  close(): void {
    this.#timer.stop();
    this.cancelAll();
    this.#lines.close();
  }

  /** The caller, or why the request is refused. */
  #admit(
    request: IncomingMessage,
    upgraded: Duplex,
    headers: IncomingMessage['headers'],
  ): Caller | GatewayError {
    const { door, guard, isReady } = this.#options;
    // An upgrade request with a body gets a stream from Node that is not the connection.
    if (upgraded !== request.socket) return new GatewayError('invalid_request', 'An upgrade has no body.');
    const refusal = requestRefusal(request) ?? guard.upgradeRefusal(request.headers);
    if (refusal !== undefined) return refusal;
    const caller = guard.identify(headers, undefined);
    if (caller === undefined) return guard.keyRefusal(headers, undefined);
    door.known(request.socket);
    setCaller(request, caller);
    return isReady() ? caller : shuttingDown();
  }

  async #open(asked: Asked): Promise<void> {
    const { admission, config, defects, door, limiter, metrics, tracing } = this.#options;
    const opening = new AbortController();
    const early = new EarlyBytes(asked.socket, asked.head, (error) => opening.abort(error));
    const timer = this.#options.clock.after(config.waitTimeoutMs, () =>
      opening.abort(
        lease?.awaitedError ??
          overloaded(`No place became free within ${config.waitTimeoutMs} ms (waitTimeoutMs).`),
      ),
    );
    this.#opening.add(opening);
    let span: RealtimeSpan | undefined;
    let recorded: RecordedConversation | undefined;
    let lease: ConversationLease | undefined;
    let place: Place | undefined;
    try {
      const read = this.#read(asked);
      if (read.hasUnknownPrefix) metrics.unknownPrefixes += 1;
      span = tracing?.startRealtime(read, asked.headers);
      recorded = this.#record(asked, read);
      if (recorded !== undefined) recorded.onFailed = (error) => opening.abort(error);
      lease = limiter()?.conversation(read, asked);
      await lease?.enter(opening.signal);
      const { tenant } = asked.caller;
      place = admission.enter({ signal: opening.signal, priority: lease?.priority, tenant });
      await place.given;
      timer.stop();
      recorded?.conversation.asked();
      const provider = await this.#connect(asked, read, span, opening.signal);
      await this.#kept(recorded, provider, opening.signal);
      const client = this.#accept(asked, early.take());
      if (client === undefined) {
        provider.webSocket.terminate();
        throw clientLeft('left before its upgrade was answered');
      }
      this.#begin(asked, read, { client, lease, place, provider, recorded, span });
      lease = undefined;
      place = undefined;
    } catch (thrown) {
      const error = asGatewayError(thrown);
      early.take();
      if (error.code === 'internal_error')
        defects.caught('realtime upgrade', thrown, requestIdOf(asked.request));
      span?.fail(error);
      recorded?.refused(error);
      // What `ws` refused was answered already.
      if (asked.request.socket.writable) door.refuse(asked.request, error);
    } finally {
      timer.stop();
      this.#opening.delete(opening);
      place?.release();
      lease?.settle();
      this.#tellEmpty();
    }
  }

  #read({ headers, target }: Asked): RealtimeRequest {
    const { clock, gates, served } = this.#options;
    return readRealtimeRequest(target, headers, served(), (targets) => {
      const [first] = targetsInOrder(targets, gates, clock).order;
      return first;
    });
  }

  async #connect(
    { headers }: Asked,
    { provider, query, route }: RealtimeRequest,
    span: RealtimeSpan | undefined,
    signal: AbortSignal,
  ): Promise<ProviderSocket> {
    const { clock, config, targets } = this.#options;
    const { credential, path, pool } = targets.find(provider, { ...route, query }, headers);
    // A state without its parent would be another trace's.
    const carried = span === undefined ? headers : { ...headers, tracestate: undefined, ...span.headers };
    return await openProviderSocket({
      origin: new URL(pool.origin),
      path,
      headers: providerHeaders(carried, credential),
      transport: provider.transport,
      connectTimeoutMs: config.connectTimeoutMs,
      maxHeaderBytes: config.maxHeaderBytes,
      closeTimeoutMs,
      clock,
      signal,
    });
  }

  /** Accepts the client's upgrade; `undefined`: it was no right one, and was answered, or the client is gone. */
  #accept({ request, socket }: Asked, head: Buffer): WebSocket | undefined {
    let accepted: WebSocket | undefined;
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => (accepted = webSocket));
    return accepted;
  }

  #begin(
    { caller, headers, request }: Asked,
    read: RealtimeRequest,
    opened: {
      readonly client: WebSocket;
      readonly lease: ConversationLease | undefined;
      readonly place: Place;
      readonly provider: ProviderSocket;
      readonly recorded: RecordedConversation | undefined;
      readonly span: RealtimeSpan | undefined;
    },
  ): void {
    const { clock, config, links, memory, usage } = this.#options;
    const { lease } = opened;
    const startedMs = clock.nowMs();
    const address = clientAddress(request);
    const requestId = requestIdOf(request);
    const client = streamClient({ address, caller, headers, requestId });
    const hold = memory.hold(holderOf(caller, address));
    const price = usage()?.priceAt(read, read.targets?.[0]);
    const { model = '', providerModel = model } = read;
    const session = new RealtimeSession({
      client: { webSocket: opened.client, socket: request.socket },
      provider: opened.provider,
      config,
      clock,
      links,
      hold,
      edit: providerModel === model ? undefined : sessionModel(model, providerModel),
      conversation: opened.recorded?.conversation,
      onUsed: (total) => lease?.used(total),
      onEnd: (reason, limit) => {
        this.#ended[reason] += 1;
        const end = {
          reason,
          closeCode: session.closeCode,
          toClient: session.figuresTo('client'),
          toProvider: session.figuresTo('provider'),
          usage: session.usage,
          limit,
        };
        const { unreported } = session;
        const counted = lease?.settle(sumOf(end.usage, unreported));
        const { tenant } = caller;
        usage()?.talked({ tenant, price, usage: end.usage, unreported, counted, error: limit });
        opened.span?.end(end, client);
        opened.recorded?.ended(end);
        const { traceId } = opened.span ?? {};
        const upstreamRequestId = opened.provider.requestId;
        this.#lines.ended(read, end, { client, headers, requestId, startedMs, traceId, upstreamRequestId });
      },
      onOver: () => {
        hold.release();
        opened.place.release();
        this.#sessions.delete(session);
        for (const side of realtimeSides) add(this.#over[side], session.figuresTo(side));
        this.#tellEmpty();
      },
    });
    if (opened.recorded !== undefined) opened.recorded.onFailed = ({ message }) => session.tapFailed(message);
    this.#sessions.set(session, caller.tenant);
    lease?.begin((error) => session.cut(error));
  }

  /** The conversation for taps; `undefined`: none reads it. */
  #record({ caller, headers, request }: Asked, read: RealtimeRequest): RecordedConversation | undefined {
    const { clock, config, defects, taps } = this.#options;
    const requestId = requestIdOf(request);
    const { api, isOwn, name } = read.provider;
    const recorded = new RecordedConversation({
      id: this.#tokens.id(),
      requestId,
      origin: { name, api, isOwn },
      model: read.model,
      client: streamClient({ address: clientAddress(request), caller, headers, requestId }),
      taps,
      windowBytes: config.windowBytes,
      clock,
      defects,
    });
    return recorded.conversation.isRead ? recorded : undefined;
  }

  /** Waits until the beginning is kept, where that is asked for. */
  async #kept(
    recorded: RecordedConversation | undefined,
    provider: ProviderSocket,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await recorded?.begin(provider.requestId);
      signal.throwIfAborted();
    } catch (error) {
      provider.webSocket.terminate();
      throw error;
    }
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const session of this.#sessions.keys()) {
      this.#options.defects.contain(
        'realtime conversation',
        () => session.tick(nowMs),
        () => session.destroy(),
      );
    }
  }

  #tellEmpty(): void {
    if (this.liveCount === 0) this.#onEmpty?.();
  }
}

function noFigures(): { -readonly [Name in keyof DirectionFigures]: number } & { maxWaitingBytes: number } {
  return { messages: 0, bytes: 0, pauses: 0, pausedMs: 0, maxWaitingBytes: 0 };
}

function add(sum: { -readonly [Name in keyof DirectionFigures]: number }, one: DirectionFigures): void {
  sum.messages += one.messages;
  sum.bytes += one.bytes;
  sum.pauses += one.pauses;
  sum.pausedMs += one.pausedMs;
}
