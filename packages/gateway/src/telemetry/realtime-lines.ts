import type { IncomingHttpHeaders } from 'node:http';
import type { StreamClient } from '@spillway/server/access/stream-client';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import { clientRequestId } from '../http/request-ids.ts';
import { withoutKeys } from '../http/route.ts';
import { LineBudget } from './line-budget.ts';
import { traceIdOf } from './trace-context.ts';
import type { RealtimeEnd } from './realtime-end.ts';
import type { TracedRequest } from './tracing.ts';

/** Who had the conversation, and when. */
export interface RealtimeOpening {
  readonly client: StreamClient;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string | undefined;
  readonly startedMs: number;
  readonly traceId: string | undefined;
  readonly upstreamRequestId: string | undefined;
}

/** The lines in a minute of each caller and reason. */
const maxLines = 600;

/** Writes a line for each conversation that has ended. None has words, audio or a key. */
export class RealtimeLines {
  readonly #log: Pick<Logger, 'info'>;
  readonly #clock: ServerClock;
  readonly #budget: LineBudget;

  constructor(log: Pick<Logger, 'info'>, clock: ServerClock) {
    this.#log = log;
    this.#clock = clock;
    this.#budget = new LineBudget({
      clock,
      maxLines,
      onLeftOut: (fields, leftOut) => log.info({ ...fields, leftOut }, 'realtime sessions were not logged'),
    });
  }

  ended(
    request: TracedRequest & { readonly hasUnknownPrefix: boolean },
    end: RealtimeEnd,
    opening: RealtimeOpening,
  ): void {
    const { client, headers, requestId, startedMs, traceId, upstreamRequestId } = opening;
    const { closeCode, limit, reason, toClient, toProvider, usage } = end;
    const caller = client.caller || undefined;
    const who = { caller, address: client.address };
    if (!this.#budget.take(`realtime ${caller ?? client.address} ${reason}`, { ...who, reason })) return;
    this.#log.info(
      {
        request: requestId,
        clientRequest: clientRequestId(headers),
        upstreamRequest: upstreamRequestId,
        trace: traceId ?? traceIdOf(headers),
        provider: request.provider.name,
        api: request.route.api,
        path: withoutKeys(request.route.path),
        model: request.model,
        unknownPrefix: request.hasUnknownPrefix || undefined,
        ...who,
        agent: client.agent || undefined,
        tenant: client.tenant || undefined,
        reason,
        limit: limit?.reached.name,
        closeCode,
        messagesToProvider: toProvider.messages,
        bytesToProvider: toProvider.bytes,
        messagesToClient: toClient.messages,
        bytesToClient: toClient.bytes,
        inputTokens: usage?.inputTokens,
        outputTokens: usage?.outputTokens,
        pauses: toClient.pauses + toProvider.pauses || undefined,
        pausedMs: Math.round(toClient.pausedMs + toProvider.pausedMs) || undefined,
        durationMs: Math.round(this.#clock.nowMs() - startedMs),
      },
      'realtime session ended',
    );
  }

  /** Reports the lines that were left out so far. */
  close(): void {
    this.#budget.close();
  }
}
