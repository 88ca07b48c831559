import type { Logger } from 'pino';
import type {
  Call,
  CallEndReason,
  CallEvent,
  CallFigures,
  CallOptions,
  CarrierLeg,
  ModelLeg,
  Utterance,
} from '@spillway/voice';
import { openCall } from '@spillway/voice';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { CallTotals } from '../telemetry/call-metrics.ts';
import { CallEndings } from './call-endings.ts';
import { CallRefusals } from './call-refusals.ts';

/** How a call is answered. */
export interface CallPlan extends Pick<
  CallOptions,
  'greeting' | 'maxAnswerMs' | 'maxDurationMs' | 'onShortNoise' | 'tools' | 'windowMs'
> {
  /** Opens the model's end of a call, with what was said so far. */
  readonly openModel: (past: readonly Utterance[]) => ModelLeg;
  /** Calls that may run at once. Each is two sockets and at most two minutes of speech, about a megabyte. */
  readonly maxCalls: number;
}

export interface CallsOptions {
  /** How the next call is answered. */
  readonly plan: () => CallPlan;
  readonly clock: ServerClock;
  readonly log: Pick<Logger, 'info'>;
  /** Whoever looks on: for each call, who is told what happens in it. `end` ends the call, soon. */
  readonly watch: (
    carrier: CarrierLeg,
    model: ModelLeg,
    end: (detail: string) => void,
  ) => (event: CallEvent) => void;
}

/** A model's session that ends so would not be another one if it were opened again. */
const lastingFailures = new Set(['refused', 'unauthorized']);

/** The calls of a gateway. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #calls = new Set<Call>();
  /** All reasons, so that the first call of one has a rate. */
  readonly #ended: Record<CallEndReason, number> = {
    hangup: 0,
    carrier_lost: 0,
    carrier_refused: 0,
    model_failed: 0,
    ear_stalled: 0,
    max_duration: 0,
    closed: 0,
  };
  /** Ends the wait of `drainAll`. */
  #onLast: (() => void) | undefined;
  /** How the last calls ended. */
  readonly endings = new CallEndings();
  readonly refusals: CallRefusals;
  #over = { interruptions: 0, underruns: 0, droppedMs: 0, lostMs: 0, reopened: 0 };

  constructor(options: CallsOptions) {
    this.#options = options;
    this.refusals = new CallRefusals(options.log, options.clock);
  }

  /** Whether so many more calls may run. */
  hasRoomFor(more: number): boolean {
    return this.#calls.size + more <= this.#options.plan().maxCalls;
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
    return { ...totals, ended: { ...this.#ended }, refused: { ...this.refusals.counts } };
  }

  /** Answers a call. */
  answer(carrier: CarrierLeg): void {
    const { clock, log, plan, watch } = this.#options;
    const { maxCalls: _, openModel, ...planned } = plan();
    const startedMs = clock.nowMs();
    const model = openModel([]);
    const saw = watch(carrier, model, (detail) => queueMicrotask(() => call.close(detail)));
    const call = openCall({
      carrier,
      model,
      ...planned,
      reopenModel: (past, { code }) => (lastingFailures.has(code) ? undefined : openModel(past)),
      clock,
      onEvent: (event) => {
        saw(event);
        if (event.kind !== 'ended') return;
        const { figures } = call;
        this.#calls.delete(call);
        this.endings.ended(carrier.call.callId, event.reason);
        this.#ended[event.reason] += 1;
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
        if (this.#calls.size === 0) this.#onLast?.();
      },
    });
    this.#calls.add(call);
  }

  /** Resolves when no call runs any more. After `deadlineMs`, `onDeadline` is called, which has to end them. */
  async drainAll(deadlineMs: number, onDeadline: () => void): Promise<void> {
    if (this.#calls.size === 0) return;
    const timer = this.#options.clock.after(deadlineMs, onDeadline);
    await new Promise<void>((resolve) => (this.#onLast = resolve));
    timer.stop();
  }

  /** Ends all calls. */
  cancelAll(): void {
    for (const call of this.#calls) call.close('The gateway stops.');
  }

  /** Ends all calls, and what is watched of them. */
  close(): void {
    this.cancelAll();
    this.refusals.close();
  }
}

function add(
  sum: { -readonly [Name in keyof Omit<CallTotals, 'ended' | 'refused'>]: number },
  one: Omit<CallTotals, 'ended' | 'refused'>,
): void {
  sum.interruptions += one.interruptions;
  sum.underruns += one.underruns;
  sum.droppedMs += one.droppedMs;
  sum.lostMs += one.lostMs;
  sum.reopened += one.reopened;
}
