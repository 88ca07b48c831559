import type { Logger } from 'pino';
import type { Call, CallEndReason, CallEvent, CallFigures, CarrierLeg, ModelLeg } from '@spillway/voice';
import { openCall } from '@spillway/voice';
import type { Clock } from '@spillway/core/clock';
import type { CallTotals } from '../telemetry/call-metrics.ts';

/** How calls are answered. */
export interface CallsOptions {
  /** Opens the model's end of a call. */
  readonly openModel: () => ModelLeg;
  /** What the model is asked to say first. */
  readonly greeting: string;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly log: Pick<Logger, 'info'>;
  /** Whoever looks on: for each call, who is told what happens in it. `end` ends the call, soon. */
  readonly watch: (
    carrier: CarrierLeg,
    model: ModelLeg,
    end: (detail: string) => void,
  ) => (event: CallEvent) => void;
}

/** The calls that may run at once. Each is two sockets and at most two minutes of speech, about a megabyte. */
const maxCalls = 100;

/** The calls of a gateway. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #calls = new Set<Call>();
  readonly #ended: Partial<Record<CallEndReason, number>> = {};
  #over = { interruptions: 0, underruns: 0, droppedMs: 0, lostMs: 0, reopened: 0 };

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Whether so many more calls may run. */
  hasRoomFor(more: number): boolean {
    return this.#calls.size + more <= maxCalls;
  }

  /** The calls that run. */
  get size(): number {
    return this.#calls.size;
  }

  /** What waits now, of each call. */
  get figures(): readonly CallFigures[] {
    return [...this.#calls].map(({ figures }) => figures);
  }

  get totals(): CallTotals {
    const totals = { ...this.#over };
    for (const { figures } of this.#calls) add(totals, figures);
    return { ...totals, ended: { ...this.#ended } };
  }

  /** Answers a call. */
  answer(carrier: CarrierLeg): void {
    const { clock, greeting, log, openModel, watch } = this.#options;
    const startedMs = clock.nowMs();
    const model = openModel();
    const saw = watch(carrier, model, (detail) => queueMicrotask(() => call.close(detail)));
    const call = openCall({
      carrier,
      model,
      greeting,
      clock,
      onEvent: (event) => {
        saw(event);
        if (event.kind !== 'ended') return;
        const { figures } = call;
        this.#calls.delete(call);
        this.#ended[event.reason] = (this.#ended[event.reason] ?? 0) + 1;
        add(this.#over, figures);
        const { droppedMs, interruptions, lostMs, reopened, underruns } = figures;
        log.info(
          {
            call: carrier.call.callId,
            carrier: carrier.call.carrier,
            reason: event.reason,
            detail: event.detail || undefined,
            durationMs: Math.round(clock.nowMs() - startedMs),
            interruptions,
            underruns,
            droppedMs: Math.round(droppedMs),
            lostMs: Math.round(lostMs),
            reopened: reopened || undefined,
          },
          'call ended',
        );
      },
    });
    this.#calls.add(call);
  }

  /** Ends all calls. */
  close(): void {
    for (const call of this.#calls) call.close('The gateway stops.');
  }
}

function add(
  sum: { -readonly [Name in keyof Omit<CallTotals, 'ended'>]: number },
  one: Omit<CallTotals, 'ended'>,
): void {
  sum.interruptions += one.interruptions;
  sum.underruns += one.underruns;
  sum.droppedMs += one.droppedMs;
  sum.lostMs += one.lostMs;
  sum.reopened += one.reopened;
}
