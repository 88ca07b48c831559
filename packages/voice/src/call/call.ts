import { systemClock, type Clock, type Timer } from '@spillway/core/clock';
import { Playout } from '@spillway/core/audio';
import type { CarrierEvent, CarrierLeg } from '../carrier/carrier-leg.ts';
import type { ModelEvent, ModelLeg } from '../model/model-leg.ts';
import { Answers } from './answers.ts';
import type { CallEndReason, CallEvent } from './call-event.ts';
import { type CallOptions, checkLegs } from './call-options.ts';
import { Mouth } from './mouth.ts';

/** What waits in a call now, in milliseconds of audio, and what it has gone through. */
export interface CallFigures {
  /** Of the caller: what waits here for the model, and what the model's socket has not taken. */
  readonly inWaitingMs: number;
  readonly inSocketMs: number;
  /** Of the model: what waits here for the ear, what is on its way and not confirmed, what the carrier's socket has not taken. */
  readonly outWaitingMs: number;
  readonly outUnconfirmedMs: number;
  readonly outSocketMs: number;
  readonly marksOut: number;
  readonly interruptions: number;
  readonly underruns: number;
  /** What interruptions have thrown away: on its way to the ear (at most), and here. */
  readonly droppedMs: number;
  /** What the model was too late for. */
  readonly lostMs: number;
}

/** The model's socket gets more of the caller's audio while it holds less than this. */
const maxSocketMs = 200;
/** WebSocket close codes: all is over; the other side cannot go on. */
const normal = 1000;
const goingAway = 1001;

/**
 * A call between a human and a model: what the human says goes to the model, bounded and on its own clock; what the model says
 * goes to the ear, no faster than it is heard. When the human speaks into an answer, in this order and at once: nothing more
 * is sent, the ear drops what it has, the model stops, and is told what was heard of each part; what still comes of the
 * old answer is dropped by its id.
 */
export class Call {
  readonly #carrier: CarrierLeg;
  readonly #model: ModelLeg;
  readonly #options: CallOptions;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #playout: Playout;
  readonly #mouth: Mouth;
  readonly #answers: Answers;
  readonly #timers = new Map<string, Timer>();
  readonly #over = Promise.withResolvers<CallEndReason>();
  #isReady = false;
  #isOver = false;
  #interruptions = 0;
  #underruns = 0;
  #droppedMs = 0;
  #lostMs = 0;

  constructor(options: CallOptions) {
    checkLegs(options);
    const { carrier, clock = systemClock, model } = options;
    this.#options = options;
    this.#carrier = carrier;
    this.#model = model;
    this.#clock = clock;
    this.#answers = new Answers(model.output);
    this.#playout = new Playout(carrier, {
      format: carrier.format,
      clock,
      windowMs: options.windowMs ?? 800,
      maxWaitingMs: options.maxAnswerMs ?? 120_000,
      onUnderrun: (ms) => {
        this.#underruns += 1;
        this.#tell({ kind: 'underrun', ms });
      },
      onCut: (part, keptMs) => {
        // A part is truncated when nothing more comes of it.
        this.#stopAnswer();
        this.#say(part, keptMs);
        this.#tell({ kind: 'cut', itemId: part.itemId, keptMs });
      },
      onHeard: ({ itemId }) => this.#tell({ kind: 'played', itemId }),
    });
    this.#mouth = new Mouth({
      format: carrier.format,
      maxEarlyMs: options.maxEarlyMs ?? 5000,
      maxLateMs: options.maxLateMs ?? 400,
      maxSocketMs,
      onGap: (gap) => {
        this.#lostMs += gap.toMs - gap.fromMs;
        this.#tell({ kind: 'gap', ...gap });
      },
      onMissing: (atMs, ms) => this.#tell({ kind: 'missing', atMs, ms }),
    });
  }

  /** Resolves when the call is over and both ends are closed. Never rejects. */
  get ended(): Promise<CallEndReason> {
    return this.#over.promise;
  }

  /** What waits now. */
  get figures(): CallFigures {
    return {
      inWaitingMs: this.#mouth.waitingMs,
      inSocketMs: this.#model.bufferedMs,
      outWaitingMs: this.#playout.waitingMs,
      outUnconfirmedMs: this.#playout.unconfirmedMs,
      outSocketMs: this.#carrier.bufferedMs,
      marksOut: this.#playout.marksOut,
      interruptions: this.#interruptions,
      underruns: this.#underruns,
      droppedMs: this.#droppedMs,
      lostMs: this.#lostMs,
    };
  }

  /** Begins. Called once, by `openCall`. */
  begin(): void {
    const { maxDurationMs = 3_600_000, readyTimeoutMs = 10_000 } = this.#options;
    this.#tell({ kind: 'started', call: this.#carrier.call });
    this.#after('duration', maxDurationMs, () => this.#end('max_duration', `${maxDurationMs} ms are over.`));
    this.#after('ready', readyTimeoutMs, () =>
      this.#end('model_failed', `The model was not ready after ${readyTimeoutMs} ms.`),
    );
    this.#model.listen((event) => this.#modelSays(event));
    this.#carrier.listen((event) => this.#carrierSays(event));
  }

  /** Speaks into the answer for the human: as a barge-in does. */
  interrupt(): void {
    if (this.#isOver) return;
    if (this.#playout.isIdle && !this.#answers.isResponding) {
      // One that was asked for, such as the greeting, and has not begun.
      this.#model.cancel();
      return;
    }
    const { sentMs, unheard, waitingMs } = this.#playout.interrupt();
    this.#stopTimer('stall');
    this.#stopAnswer();
    for (const part of unheard) this.#say(part, part.heardMs);
    this.#interruptions += 1;
    this.#droppedMs += sentMs + waitingMs;
    this.#tell({ kind: 'interrupted', unheard, sentMs, waitingMs });
  }

  /** Gives a tool's result to the model. */
  giveResult(callId: string, output: string): void {
    if (!this.#isOver) this.#model.giveResult(callId, output);
  }

  /** Ends the call. Safe to call twice. */
  close(detail = ''): void {
    this.#end('closed', detail);
  }

  #carrierSays(event: CarrierEvent): void {
    if (this.#isOver) return;
    if (event.kind === 'audio') this.#mouth.hear(event.timestampMs, event.audio);
    else if (event.kind === 'mark') {
      if (this.#playout.returned(event.name) === 'played') {
        this.#stopTimer('stall');
        this.#watchEar();
      }
    } else if (event.kind === 'digit') {
      this.#tell({ kind: 'digit', digit: event.digit });
      this.#model.tell(`The caller pressed ${event.digit} on the telephone.`);
    } else this.#end(event.why === 'hangup' ? 'hangup' : `carrier_${event.why}`, event.detail);
  }

  #modelSays(event: ModelEvent): void {
    if (this.#isOver) return;
    switch (event.kind) {
      case 'ready':
        this.#ready();
        break;
      case 'responseStarted':
        this.#answers.started(event.responseId);
        break;
      case 'audio':
        if (!this.#answers.came(event.responseId, event.part, event.audio.byteLength)) break;
        if (this.#playout.write(event.part, event.audio)) this.#watchEar();
        break;
      case 'audioEnded':
        if (this.#answers.isWanted(event.responseId)) this.#playout.end(event.part);
        break;
      case 'responseEnded':
        this.#answers.ended(event.responseId);
        this.#tell({ kind: 'responseEnded', state: event.state });
        break;
      case 'speechStarted':
        this.interrupt();
        break;
      case 'said':
        if (event.isWhole) this.#tell({ kind: 'said', itemId: event.part.itemId, text: event.text });
        break;
      case 'heard':
        if (event.isWhole) this.#tell({ kind: 'heard', text: event.text });
        break;
      case 'toolCalled':
        this.#tell({ kind: 'toolCalled', callId: event.callId, name: event.name, input: event.input });
        break;
      case 'warned':
        this.#tell(event);
        break;
      case 'drained':
        this.#mouth.drain();
        break;
      case 'ended':
        this.#end('model_failed', `${event.code}: ${event.message}`);
        break;
      case 'speechStopped':
        break;
    }
  }

  #ready(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#stopTimer('ready');
    this.#tell({ kind: 'ready', waitedMs: this.#mouth.waitingMs });
    this.#mouth.listen(this.#model);
    if (this.#options.greeting !== undefined) this.#model.respond(this.#options.greeting);
  }

  /** The model makes no more of its answer, and what still comes of it is dropped. */
  #stopAnswer(): void {
    if (this.#answers.isResponding) this.#model.cancel();
    this.#answers.dropAll();
  }

  /** Tells the model how much of a part is heard. An item of which nothing was heard is removed: cut to nothing, it is refused. */
  #say(part: { readonly itemId: string; readonly contentIndex: number }, ms: number): void {
    const heardMs = this.#answers.heardMs(part, ms);
    if (heardMs > 0) this.#model.truncate(part, heardMs);
    else this.#model.remove(part.itemId);
  }

  /** While a mark is out, one has to come back in time. */
  #watchEar(): void {
    if (this.#playout.marksOut === 0 || this.#timers.has('stall')) return;
    const { stallTimeoutMs = 10_000 } = this.#options;
    this.#after('stall', stallTimeoutMs, () =>
      this.#end('ear_stalled', `The ear confirmed nothing for ${stallTimeoutMs} ms.`),
    );
  }

  #end(reason: CallEndReason, detail: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const name of this.#timers.keys()) this.#stopTimer(name);
    this.#playout.close();
    this.#model.close();
    this.#carrier.close(reason === 'model_failed' ? goingAway : normal, reason);
    this.#tell({ kind: 'ended', reason, detail });
    this.#over.resolve(reason);
  }

  #after(name: string, ms: number, callback: () => void): void {
    this.#timers.set(
      name,
      this.#clock.after(ms, () => {
        this.#timers.delete(name);
        callback();
      }),
    );
  }

  #stopTimer(name: string): void {
    this.#timers.get(name)?.stop();
    this.#timers.delete(name);
  }

  #tell(event: CallEvent): void {
    this.#options.onEvent?.(event);
  }
}

/**
 * Opens a call between a carrier's leg and a model's. Both ends are the call's from now on: it closes them.
 *
 * @throws {SpillwayError} `invalid_option` when the formats of the ends differ, or for a number out of its range.
 */
export function openCall(options: CallOptions): Call {
  const call = new Call(options);
  call.begin();
  return call;
}
