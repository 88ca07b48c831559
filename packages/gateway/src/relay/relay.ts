import type { TokenUsage } from '@spillway/core/format/format';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Asker } from '@spillway/server/access/asker';
import { holderOf } from '@spillway/server/access/caller';
import { ownerOf } from '../access/owner.ts';
import type { Admission } from '@spillway/server/admission/admission';
import type { Place } from '@spillway/server/admission/place';
import { readsAnswersOnly } from '@spillway/server/http/answers-only';
import { BusyLoop } from '@spillway/server/time/busy-loop';
import type { Settings } from '../config/load.ts';
import type { Defects } from '@spillway/server/defects';
import { asGatewayError, clientLeft } from '@spillway/server/errors';
import { providerHeaders } from '../http/headers.ts';
import type { EventMemory } from '@spillway/server/memory/event-memory';
import { askInTurn } from './ask-in-turn.ts';
import type { Turn } from './answer-head.ts';
import { endUnanswered, fill, type FillOptions } from './fill.ts';
import { LatencyBudget, mergeMsFor, windowBytesFor } from './latency-budget.ts';
import { originOf } from './origin-of.ts';
import type { ProviderGates } from '../provider/gate/provider-gates.ts';
import type { Targets } from '../provider/targets.ts';
import type { AttemptBody, RelayRequest, RequestTarget } from './relay-request.ts';
import { StreamLimits } from '@spillway/server/stream/stream-limits';
import { ClientResponse } from '@spillway/server/sink/client-response';
import type { Paces } from '@spillway/server/sink/paces';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { StreamOutcome } from '@spillway/server/stream/stream-body';
import { streamClient } from '@spillway/server/access/stream-client';
import type { ServedReader } from '@spillway/server/stream/served-reader';
import type { Streams } from '@spillway/server/stream/streams';
import { runsModel } from '../limit/asked-model.ts';
import type { RequestLease } from '../limit/request-lease.ts';
import { lastUsage } from '@spillway/server/telemetry/gen-ai';
import type { Metrics } from '../telemetry/metrics.ts';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { StreamLines } from '../telemetry/stream-lines.ts';
import type { EndOfStream, StreamUsage } from '../limit/stream-usage.ts';
import type { StreamSpan, Tracing } from '../telemetry/tracing.ts';

export interface RelayOptions {
  readonly clock: ServerClock;
  readonly settings: Settings;
  readonly streams: Streams;
  readonly metrics: Metrics;
  readonly paces: Paces;
  readonly tracing: Tracing | undefined;
  readonly lines: Pick<StreamLines, 'ended' | 'fellBack' | 'retried'>;
  readonly defects: Defects;
  readonly eventMemory: EventMemory;
  /** The places of maxStreams, one for each request at a provider. */
  readonly admission: Admission;
  readonly targets: Targets;
  /** What stands before providers. */
  readonly gates: ProviderGates;
  /** Counts what tenants use; `undefined`: there are no limits and no prices. */
  readonly usage: () => StreamUsage | undefined;
}

/** What a stream is opened with, beside its request. */
interface OpenOptions {
  /** What it holds of its limits; `undefined`: it has none. */
  readonly lease: RequestLease | undefined;
  /** How long its answer may take. Default: as long as the request's model says. */
  readonly budgetMs: number | undefined;
  /** When the head of its request came, on the clock: its budget counts from then. Default: now. */
  readonly askedMs?: number | undefined;
  /** What of the request gave way to pressure; `undefined`: nothing. */
  readonly gaveWay: readonly string[] | undefined;
}

/** Relays requests to providers: each gets one stream, with exactly one end. */
export class Relay {
  readonly #clock: ServerClock;
  readonly #settings: Settings;
  readonly #streams: Streams;
  readonly #metrics: Metrics;
  readonly #lines: RelayOptions['lines'];
  readonly #defects: Defects;
  readonly #loop = new BusyLoop();
  readonly #paces: Paces;
  readonly #eventMemory: EventMemory;
  readonly #tracing: Tracing | undefined;
  readonly #targets: Targets;
  readonly #admission: Admission;
  readonly #gates: ProviderGates;
  readonly #usage: RelayOptions['usage'];

  /** Without `tracing`, streams have no spans. A client's trace context then goes to the provider unchanged. */
  constructor({
    admission,
    clock,
    defects,
    eventMemory,
    gates,
    lines,
    metrics,
    paces,
    settings,
    streams,
    targets,
    tracing,
    usage,
  }: RelayOptions) {
    this.#clock = clock;
    this.#eventMemory = eventMemory;
    this.#settings = settings;
    this.#streams = streams;
    this.#metrics = metrics;
    this.#paces = paces;
    this.#tracing = tracing;
    this.#lines = lines;
    this.#admission = admission;
    this.#gates = gates;
    this.#defects = defects;
    this.#targets = targets;
    this.#usage = usage;
  }

  /**
   * Answers a request by HTTP with a provider's reply. `mergeMs`: the time between two writes; 0: none. The lease is settled
   * with the stream.
   */
  answer(
    request: RelayRequest,
    asker: Asker,
    raw: ServerResponse,
    { mergeMs, ...asked }: OpenOptions & { readonly mergeMs: number },
  ): void {
    const stream = this.open(request, asker, asked);
    const { budgetMs = request.budgetMs } = asked;
    const response = new ClientResponse(raw, {
      format: request.route.errors,
      paces: this.#paces,
      clock: this.#clock,
      streamUrl: stream.url,
      requestId: asker.requestId,
      mergeMs: mergeMs === 0 && budgetMs !== undefined ? mergeMsFor(budgetMs) : mergeMs,
      answersOnly: readsAnswersOnly(asker.headers),
      onLeave: () => reader.detach(clientLeft('left')),
    });
    const reader: ServedReader = stream.attach(response, {
      wantsEvents: request.wantsEvents,
      address: asker.address,
      requestId: asker.requestId,
    });
  }

  /** Opens a stream, and asks its provider. Attach readers in the same turn. */
  open(
    request: RelayRequest,
    asker: Asker,
    { askedMs, budgetMs = request.budgetMs, gaveWay, lease }: OpenOptions,
  ): GatewayStream {
    const { model, provider, route } = request;
    const detach = provider.detach ?? this.#settings.config.detach;
    const { caller, headers } = asker;
    if (request.hasUnknownPrefix) this.#metrics.unknownPrefixes += 1;
    const owner = ownerOf(caller, provider, headers, route.queryKey);
    const client = streamClient(asker);
    const holder = holderOf(caller, client.address);
    const stream = this.#streams.open({
      origin: originOf(
        provider,
        request.targets?.map((target) => target.provider.name),
      ),
      mayRead: (asked) => ownerOf(asked.caller, provider, asked.headers, asked.queryKey) === owner,
      errors: route.errors,
      detach,
      owner,
      holder,
      model,
      client,
      requestId: asker.requestId,
      requestBody: () => request.body.parts,
    });
    if (gaveWay !== undefined) {
      stream.gaveWay = gaveWay;
      stream.journal.add('gave_way', null, gaveWay.join(', '));
    }
    if (lease !== undefined) {
      const pace = lease.openPace(route.format);
      stream.limits = new StreamLimits(stream.signal, { limit: lease, pace });
    }
    // Its lease has the prompt counted. Of a request without one, nothing of the body is left at the end.
    const isCounted = lease === undefined && this.#usage() !== undefined;
    const promptTokens = isCounted ? request.promptTokens : 0;
    this.#run(stream, request, headers, { askedMs, lease, promptTokens, budgetMs }).catch((error: unknown) =>
      this.#defects.caught('relay', error),
    );
    return stream;
  }

  /** Runs a stream to its end. Readers get every error; rejects only if that fails. */
  async #run(
    stream: GatewayStream,
    request: RelayRequest,
    headers: IncomingHttpHeaders,
    {
      askedMs = stream.startedMs,
      lease,
      promptTokens,
      budgetMs,
    }: Pick<OpenOptions, 'askedMs' | 'budgetMs' | 'lease'> & Pick<EndOfStream, 'promptTokens'>,
  ): Promise<void> {
    let end: StreamOutcome = { state: 'completed', error: undefined };
    let span: StreamSpan | undefined;
    let place: Place | undefined;
    let price = this.#usage()?.priceAt(request, request.targets?.[0]);
    let retries = 0;
    const onRetry = (reason: string, delayMs: number): void => {
      retries += 1;
      this.#streams.meter.retries += 1;
      stream.journal.add('retried', null, reason);
      this.#lines.retried(stream, reason, delayMs);
    };
    const budget =
      budgetMs === undefined ? undefined : new LatencyBudget(stream, budgetMs, askedMs, this.#clock);
    try {
      budget?.throwIfSpent();
      span = this.#tracing?.start(request, headers);
      // A state without its parent would be another trace's.
      const carried = span === undefined ? headers : { ...headers, tracestate: undefined, ...span.headers };
      if (lease !== undefined) await lease.enter(stream);
      const entrant = { signal: stream.signal, priority: lease?.priority, tenant: tenantOf(stream) };
      const takePlace = async (): Promise<void> => {
        place ??= this.#admission.enter(entrant);
        stream.wait = place;
        await place.given;
        stream.wait = undefined;
      };
      const ask = (target: Asked, body: AttemptBody, turn?: Turn): Promise<void> =>
        this.#fill(stream, request, target, body, { headers: carried, onRetry, turn, budgetMs });
      const targets = this.#targetsOf(request);
      if (targets === undefined) {
        await takePlace();
        await ask(request, request);
      } else {
        await askInTurn(stream, request, targets, {
          clock: this.#clock,
          gates: this.#gates,
          entrant,
          tries: 1 + this.#settings.config.retries,
          detach: this.#settings.config.detach,
          waitTimeoutMs: this.#settings.config.waitTimeoutMs,
          budget,
          takePlace,
          ask: (target, body, turn) => {
            if (request.targets !== undefined) {
              price = this.#usage()?.priceAt(request, target);
              lease?.asks(target);
            }
            return ask(target, body, turn);
          },
          onFallback: (from, error, to) => {
            this.#gates.fellBack(from.provider);
            stream.journal.add('fell_back', null, `${nameOf(from)} ${error.code}, then ${nameOf(to)}`);
            this.#lines.fellBack(stream, { from: nameOf(from), to: nameOf(to), code: error.code });
          },
        });
      }
    } catch (thrown) {
      const { signal } = stream;
      const error = asGatewayError(signal.aborted ? signal.reason : thrown);
      end = { state: error.isCancel ? 'cancelled' : 'failed', error };
    }
    budget?.end();
    request.body.release();
    let usage: TokenUsage | undefined;
    let savedTokens = 0;
    const account = (outcome: StreamOutcome): void =>
      this.#defects.contain('account of a stream', () => {
        savedTokens = this.#metrics.streams.streamEnded(stream, outcome, usage);
      });
    const report = (outcome: StreamOutcome): void =>
      this.#defects.contain('report of a stream', () => {
        span?.end(stream, outcome, usage);
        const { code, cause } = outcome.error ?? {};
        if (code === 'internal_error' && cause !== undefined) {
          this.#defects.caught(`stream ${stream.id}`, cause, stream.requestId);
        }
        const { traceId } = span ?? {};
        const { hasUnknownPrefix, route } = request;
        const about = { usage, retries, route, hasUnknownPrefix, headers, traceId };
        this.#lines.ended(stream, { outcome, status, ...about });
      });
    let held: Promise<StreamOutcome> | undefined;
    let status: number | undefined;
    this.#defects.contain('usage of a stream', () => (usage = lastUsage(stream)));
    this.#defects.contain('end of a stream', () => {
      const { config } = this.#settings;
      if (end.error !== undefined) endUnanswered(stream, end.error, config, this.#clock);
      status = stream.body?.status ?? stream.refusal?.status;
      // An error without an answer waits for no tap.
      if (stream.isAnswered || stream.log !== undefined) held = stream.gates.outcome(end);
      if (held === undefined) account(end);
      this.#streams.ended(stream, { ...end, usage });
    });
    this.#defects.contain('limits of a stream', () => {
      const counted = lease?.settle(usage);
      const ranModel = runsModel(request);
      this.#usage()?.ended(stream, {
        outcome: end,
        ranModel,
        usage,
        savedTokens,
        counted,
        promptTokens,
        format: request.route.format?.name,
        price,
      });
    });
    if (held === undefined) report(end);
    else {
      const told = async (later: Promise<StreamOutcome>): Promise<void> => {
        const outcome = await later;
        account(outcome);
        report(outcome);
      };
      void told(held);
    }
    if (place?.isHeld !== true) return;
    // Without other room for the unread rest, the stream keeps its place until its readers have it. So places bound
    // what is unread.
    if (!this.#streams.drain(stream)) await stream.delivered;
    place.release();
  }

  /** The targets of a request that has several, or one that something stands before; `undefined`: it has one, and is sent at once. */
  #targetsOf(request: RelayRequest): readonly RequestTarget[] | undefined {
    const { path, provider, providerModel, targets, wantsEvents } = request;
    if (targets !== undefined) return targets;
    const isFree = this.#gates.find(provider, providerModel) === undefined;
    if (isFree && (provider.firstTokenMs === undefined || !wantsEvents)) return undefined;
    return [{ provider, path, model: providerModel ?? '', weight: 1, edits: [] }];
  }

  #fill(
    stream: GatewayStream,
    request: RelayRequest,
    { path, provider }: Asked,
    { body, isDecoded }: AttemptBody,
    {
      budgetMs,
      headers,
      ...other
    }: Pick<FillOptions, 'onRetry' | 'turn'> & {
      readonly budgetMs: number | undefined;
      readonly headers: IncomingHttpHeaders;
    },
  ): Promise<void> {
    const { method, route } = request;
    const { config } = this.#settings;
    const { credential, path: sentPath, pool } = this.#targets.find(provider, { ...route, path }, headers);
    const sent = isDecoded ? { ...headers, 'content-encoding': undefined } : headers;
    return fill(stream, {
      clock: this.#clock,
      loop: this.#loop,
      eventMemory: this.#eventMemory,
      config:
        budgetMs === undefined
          ? config
          : { ...config, windowBytes: windowBytesFor(budgetMs, config.windowBytes) },
      pool,
      format: route.format,
      wantsEvents: request.wantsEvents,
      request: { method, path: sentPath, headers: providerHeaders(sent, credential), body },
      retries: this.#gates.retriesOf(provider),
      ...other,
    });
  }
}

/** Who is asked, and at which path. */
type Asked = Pick<RequestTarget, 'path' | 'provider'>;

/** Whose share of the places a stream takes: its tenant's, and without tenants its caller's or its client's. */
function tenantOf({ client: { address, caller, tenant } }: GatewayStream): string {
  return tenant || caller || address;
}

/** A target as people write it. */
function nameOf({ model, provider }: RequestTarget): string {
  return `${provider.name}/${model.slice(0, 100)}`;
}
