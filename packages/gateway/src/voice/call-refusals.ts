import type { Logger } from 'pino';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { LineBudget } from '../telemetry/line-budget.ts';

/**
 * Why a call was not taken. `overloaded`: `maxCalls` run, or so many newer sockets wait to say which call they are. `shutting_down`: the gateway stops, or an operator drains it. `token`:
 * its socket did not show the token of its webhook in time, or showed it twice. `carrier`: its socket did not begin as a carrier's. `limit`: its tenant has
 * reached a limit, or the store of limits does not answer.
 */
export type CallRefusal = 'carrier' | 'limit' | 'overloaded' | 'shutting_down' | 'token';

/** The lines of each reason in a minute. */
const maxLines = 60;

/** Counts and logs calls that were not taken. Requests that nobody has signed are refused before they are calls. */
export class CallRefusals {
  readonly counts: Record<CallRefusal, number> = {
    carrier: 0,
    limit: 0,
    overloaded: 0,
    shutting_down: 0,
    token: 0,
  };
  readonly #log: Pick<Logger, 'info'>;
  readonly #budget: LineBudget;

  constructor(log: Pick<Logger, 'info'>, clock: Pick<ServerClock, 'after'>) {
    this.#log = log;
    this.#budget = new LineBudget({
      clock,
      maxLines,
      onLeftOut: (fields, leftOut) => log.info({ ...fields, leftOut }, 'refused calls were not logged'),
    });
  }

  /** `about`: the carrier's id of the call, and what was wrong, as far as they are known. */
  refused(reason: CallRefusal, about: { readonly call?: string; readonly detail?: string }): void {
    this.counts[reason] += 1;
    if (this.#budget.take(reason, { reason })) this.#log.info({ ...about, reason }, 'call refused');
  }

  /** Reports the lines that were left out so far. */
  close(): void {
    this.#budget.close();
  }
}
