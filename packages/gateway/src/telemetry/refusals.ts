import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Logger } from 'pino';
import type { Refusal } from '@spillway/server/access/refusal';
import { errorCodes, type GatewayErrorCode } from '@spillway/server/errors';
import { loggedPath } from '../http/route.ts';
import { LineBudget } from './line-budget.ts';
import { clientRequestId } from '../http/request-ids.ts';
import { traceIdOf } from './trace-context.ts';

export type ListenerName = 'admin' | 'client';

/** The lines of each code and listener in a minute. */
const maxLines = 60;
/** What browsers and crawlers ask every server for. It says nothing about anybody, so it is counted and not logged. */
const noise = /^\/(?:favicon\.ico|robots\.txt|sitemap\.xml|apple-touch-icon[\w-]*\.png|\.well-known\/.*)$/;
/** The messages of these codes may quote the client. */
const quoting: ReadonlySet<GatewayErrorCode> = new Set(['invalid_request', 'not_found']);

/** Counts and logs requests that are answered with an error of the gateway's own, and get no stream. */
export class Refusals {
  readonly #log: Logger;
  readonly #budget: LineBudget;
  /** The number of refusals of each listener, by code. */
  readonly counts: Readonly<Record<ListenerName, Record<GatewayErrorCode, number>>> = {
    admin: zeros(),
    client: zeros(),
  };

  constructor(log: Logger, clock: Pick<ServerClock, 'after'>) {
    this.#log = log;
    this.#budget = new LineBudget({
      clock,
      maxLines,
      onLeftOut: (fields, leftOut) => log.info({ ...fields, leftOut }, 'refused requests were not logged'),
    });
  }

  refused(listener: ListenerName, refusal: Refusal): void {
    const { address, caller, error, headers, method, path, requestId } = refusal;
    const { code, message, status } = error;
    this.counts[listener][code] += 1;
    const isNoise = code === 'not_found' && noise.test(path);
    if (isNoise || !this.#budget.take(`${listener} ${code}`, { listener, code })) return;
    this.#log.info(
      {
        request: requestId,
        clientRequest: clientRequestId(headers),
        trace: traceIdOf(headers),
        listener,
        address,
        caller: caller?.name || undefined,
        tenant: caller?.tenant || undefined,
        method: method || undefined,
        path: path === '' ? undefined : loggedPath(path),
        status,
        code,
        reason: quoting.has(code) ? undefined : message,
      },
      'request refused',
    );
  }

  /** Reports the lines that were left out so far. */
  close(): void {
    this.#budget.close();
  }
}

function zeros(): Record<GatewayErrorCode, number> {
  return Object.fromEntries(errorCodes.map((code) => [code, 0])) as Record<GatewayErrorCode, number>;
}
