import type { TokenUsage } from '@spillway/core/format/format';
import type { IncomingHttpHeaders } from 'node:http';
import type { Logger } from 'pino';
import type { ReaderEndReason, ServedReader } from '@spillway/server/stream/served-reader';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { StreamOutcome } from '@spillway/server/stream/stream-body';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { type Route, withoutKeys } from '../http/route.ts';
import { clientRequestId } from '../http/request-ids.ts';
import type { GatewayError } from '@spillway/server/errors';
import { LineBudget } from './line-budget.ts';
import { traceIdOf } from './trace-context.ts';

/** The lines in a minute of each client and cause that is no success. */
const maxLines = 600;

/** What a stream's last line says beside what the stream itself knows. */
export interface StreamEnd {
  readonly outcome: StreamOutcome;
  /** The provider's status; `undefined`: it did not answer. */
  readonly status: number | undefined;
  readonly usage: TokenUsage | undefined;
  readonly retries: number;
  readonly route: Route;
  readonly hasUnknownPrefix: boolean;
  readonly headers: IncomingHttpHeaders;
  /** The id of the trace that the stream's span belongs to; `undefined`: it has no span. */
  readonly traceId: string | undefined;
}

/**
 * Writes the program's lines about streams: one when a stream ends, one for each later reader, one for each retry. None
 * has text of a prompt or of an answer, a key, or a stream's token.
 */
export class StreamLines {
  readonly #log: Logger;
  readonly #clock: ServerClock;
  readonly #budget: LineBudget;

  constructor(log: Logger, clock: ServerClock) {
    this.#log = log;
    this.#clock = clock;
    this.#budget = new LineBudget({
      clock,
      maxLines,
      onLeftOut: (fields, leftOut) => log.info({ ...fields, leftOut }, 'streams were not logged'),
    });
  }

  retried(stream: GatewayStream, reason: string, delayMs: number): void {
    const { id, origin, requestId } = stream;
    if (!this.#budget.take(`retry ${origin.name} ${reason}`, { provider: origin.name, reason })) return;
    this.#log.warn(
      { request: requestId, stream: id, provider: origin.name, reason, delayMs },
      'trying again',
    );
  }

  fellBack(
    stream: GatewayStream,
    { code, from, to }: { readonly code: string; readonly from: string; readonly to: string },
  ): void {
    const { id, requestId } = stream;
    if (!this.#budget.take(`fallback ${from} ${code}`, { from, code })) return;
    this.#log.warn({ request: requestId, stream: id, from, code, to }, 'asking the next target');
  }

  /** The line of a reader that another request has opened than the stream. */
  readerEnded(stream: GatewayStream, reader: ServedReader, ended: ReaderEndReason): void {
    const { address, number, requestId, via } = reader;
    if (requestId === undefined || requestId === stream.requestId) return;
    const who = { caller: stream.client.caller || undefined, address };
    if (!this.#budget.take(`reader ${who.caller ?? address} ${ended}`, { ...who, ended })) return;
    const about = { request: requestId, stream: stream.id, reader: number, via, ...who };
    this.#log.info({ ...about, tokens: reader.tokens, ended }, 'reader ended');
  }

  ended(stream: GatewayStream, end: StreamEnd): void {
    const { client, id, requestId } = stream;
    const { error, state } = end.outcome;
    const caller = client.caller || undefined;
    if (error !== undefined) {
      const { code } = error;
      const kind = `stream ${caller ?? client.address} ${code}`;
      if (!this.#budget.take(kind, { caller, address: client.address, code })) return;
    }
    const { route, usage } = end;
    const { bytes, events, firstEventMs, startedMs } = stream;
    const nowMs = this.#clock.nowMs();
    const cause = error?.cause instanceof Error ? error.cause : undefined;
    this.#log[levelOf(stream, error)](
      {
        request: requestId,
        clientRequest: clientRequestId(end.headers),
        upstreamRequest: stream.upstreamRequestId,
        stream: id,
        trace: end.traceId ?? traceIdOf(end.headers),
        provider: stream.origin.name,
        api: route.api,
        format: route.format?.name,
        path: withoutKeys(route.path),
        model: stream.model,
        unknownPrefix: end.hasUnknownPrefix || undefined,
        gaveWay: stream.gaveWay.join(', ') || undefined,
        address: client.address,
        agent: client.agent || undefined,
        caller,
        tenant: client.tenant || undefined,
        state,
        status: end.status,
        code: error?.code,
        // A message of the gateway or of the connection: never text of a body.
        reason: error?.message,
        cause: cause === undefined ? undefined : ((cause as NodeJS.ErrnoException).code ?? cause.name),
        retried: end.retries || undefined,
        events,
        bytes,
        inputTokens: usage?.inputTokens,
        outputTokens: usage?.outputTokens,
        ttftMs: firstEventMs === undefined ? undefined : Math.round(firstEventMs - startedMs),
        durationMs: Math.round(nowMs - startedMs),
        readers: stream.readerCount,
        stalls: stream.stalls.count || undefined,
        stallMs: Math.round(stream.stalls.totalMs(nowMs)) || undefined,
      },
      'stream ended',
    );
  }

  /** Reports the lines that were left out so far. */
  close(): void {
    this.#budget.close();
  }
}

function levelOf({ origin }: GatewayStream, error: GatewayError | undefined): 'debug' | 'error' | 'info' {
  if (error?.code === 'internal_error') return 'error';
  // A canary that sings is worth no line.
  return origin.isOwn === true && error === undefined ? 'debug' : 'info';
}
