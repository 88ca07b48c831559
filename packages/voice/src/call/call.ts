import { systemClock } from '@spillway/core/clock';
import type { SpokenPart } from '@spillway/core/audio';
import type { CarrierEvent, CarrierLeg } from '../carrier/carrier-leg.ts';
import type { ModelEvent, ModelLeg } from '../model/model-leg.ts';
import { ToolRuns } from '../tools/tool-runs.ts';
import { AnswerWatch } from './answer-watch.ts';
import { Answers } from './answers.ts';
import type { CallEndReason, CallEvent } from './call-event.ts';
import type { CallFigures } from './call-figures.ts';
import { type CallOptions, checkCallOptions, checkLegs } from './call-options.ts';
import { Conversation, type Utterance } from './conversation.ts';
import { Filler } from './filler.ts';
import { Mouth } from './mouth.ts';
import { Pressure } from './pressure.ts';
import { type SessionEvent, Sessions } from './sessions.ts';
import { Timers } from './timers.ts';
import { WatchedPlayout } from './watched-playout.ts';

/** The model's socket gets more of the caller's audio while it holds less than this. */
const maxSocketMs = 200;
/** And while less than this is out to it without a sign that it arrived: the longest way there and back, and some. */
const maxUnconfirmedMs = 1000;
/** Texts that wait for a model to be ready: keys that were pressed, mostly. */
const maxUntold = 64;
/** How long a response that has failed waits until it is asked for once more. */
const askAgainAfterMs = 1000;
/** What is said at the end is no model's. */
const farewellPart: SpokenPart = { itemId: 'spillway_farewell', contentIndex: 0 };
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
  readonly #options: CallOptions;
  readonly #playout: WatchedPlayout;
  readonly #mouth: Mouth;
  readonly #timers: Timers<'ask' | 'duration' | 'noise'>;
  readonly #conversation = new Conversation();
  readonly #watch: AnswerWatch;
  readonly #tools: ToolRuns | undefined;
  readonly #filler: Filler | undefined;
  readonly #over = Promise.withResolvers<CallEndReason>();
  readonly #sessions: Sessions;
  /** What came of the present session. */
  #answers: Answers;
  #isOver = false;
  /** Why the call ends as soon as the ear has heard what waits. */
  #leaving: { readonly reason: CallEndReason; readonly detail: string } | undefined;
  /** Whether the caller waits for an answer that the next session has to give. */
  #owesAnswer: boolean;
  #failedInARow = 0;
  /** Tools that the present session waits for. */
  readonly #askedTools = new Set<string>();
  /** What the next session is told when it is ready. */
  #untold: string[] = [];
  readonly #carrierPressure: Pressure;
  readonly #modelPressure: Pressure;
  readonly #counts = { interruptions: 0, underruns: 0, droppedMs: 0, lostMs: 0, reopened: 0 };

  constructor(options: CallOptions) {
    checkLegs(options);
    checkCallOptions(options);
    const { carrier, clock = systemClock, filler, model, tools } = options;
    this.#options = options;
    this.#carrier = carrier;
    this.#answers = new Answers(model.output);
    this.#owesAnswer = options.greeting !== undefined;
    this.#timers = new Timers(clock);
    this.#carrierPressure = this.#pressureAt('carrier');
    this.#modelPressure = this.#pressureAt('model');
    const { stallTimeoutMs = 10_000 } = options;
    this.#playout = new WatchedPlayout({
      carrier,
      stallTimeoutMs,
      onStalled: () => this.#end('ear_stalled', `The ear confirmed nothing for ${stallTimeoutMs} ms.`),
      clock,
      windowMs: this.#windowMs,
      maxWaitingMs: options.maxAnswerMs ?? 120_000,
      onUnderrun: (ms) => {
        this.#counts.underruns += 1;
        this.#tell({ kind: 'underrun', ms });
      },
      onCut: (part, keptMs) => {
        // A part is truncated when nothing more comes of it.
        this.#stopAnswer();
        this.#say(part, keptMs);
        this.#tell({ kind: 'cut', itemId: part.itemId, keptMs });
      },
      onHeard: (part) => {
        if (!isOurs(part)) this.#tell({ kind: 'played', itemId: part.itemId });
      },
    });
    this.#mouth = new Mouth({
      format: carrier.format,
      maxEarlyMs: options.maxEarlyMs ?? 5000,
      maxLateMs: options.maxLateMs ?? 400,
      maxSocketMs,
      maxUnconfirmedMs,
      onGap: (gap) => {
        this.#counts.lostMs += gap.toMs - gap.fromMs;
        this.#tell({ kind: 'gap', ...gap });
      },
      onMissing: (atMs, ms) => this.#tell({ kind: 'missing', atMs, ms }),
    });
    const { answerTimeoutMs = 20_000, readyTimeoutMs = 10_000, reopenModel } = options;
    this.#sessions = new Sessions({
      clock,
      readyTimeoutMs,
      reopen:
        reopenModel &&
        ((failure) => {
          const next = reopenModel(this.#conversation.soFar, failure);
          if (next !== undefined) this.#checkNext(next);
          return next;
        }),
      onEvent: (event) => this.#modelSays(event),
      onFailed: () => this.#modelFailed(),
      onReopening: (failure, inMs) => this.#tell({ kind: 'reopening', ...failure, inMs }),
      onOpened: (next) => {
        this.#answers = new Answers(next.output);
        this.#counts.reopened += 1;
      },
      onNone: (failure) => this.#leave('model_failed', `${failure.code}: ${failure.message}`),
    });
    this.#watch = new AnswerWatch({
      clock,
      timeoutMs: answerTimeoutMs,
      onLate: () =>
        this.#sessions.fail({
          code: 'late',
          message: `Nothing came of an answer for ${answerTimeoutMs} ms.`,
        }),
      onAnswered: (thoughtMs, playedMs) => this.#tell({ kind: 'answered', thoughtMs, playedMs }),
    });
    this.#filler =
      filler && new Filler({ audio: filler, clock, format: carrier.format, playout: this.#playout });
    this.#tools =
      tools &&
      new ToolRuns({
        tools,
        callId: carrier.call.callId,
        clock,
        filler: this.#filler,
        give: (toolCallId, output) => this.giveResult(toolCallId, output),
        onEnded: (run) => this.#tell({ kind: 'toolEnded', ...run }),
      });
  }

  /** Resolves when the call is over and both ends are closed. Never rejects. */
  get ended(): Promise<CallEndReason> {
    return this.#over.promise;
  }

  /** What was said so far, without what the human did not hear of an answer. */
  get conversation(): readonly Utterance[] {
    return this.#conversation.soFar;
  }

  /** What waits now. */
  get figures(): CallFigures {
    return {
      inWaitingMs: this.#mouth.waitingMs,
      inUnconfirmedMs: this.#sessions.current?.unconfirmedMs ?? 0,
      inSocketMs: this.#sessions.current?.bufferedMs ?? 0,
      outWaitingMs: this.#playout.waitingMs,
      outUnconfirmedMs: this.#playout.unconfirmedMs,
      outSocketMs: this.#carrier.bufferedMs,
      marksOut: this.#playout.marksOut,
      ...this.#counts,
    };
  }

  /** Begins. Called once, by `openCall`. */
  begin(): void {
    const { maxDurationMs = 3_600_000, model } = this.#options;
    this.#tell({ kind: 'started', call: this.#carrier.call });
    this.#timers.after('duration', maxDurationMs, () =>
      this.#leave('max_duration', `${maxDurationMs} ms are over.`),
    );
    this.#sessions.begin(model);
    this.#carrier.listen((event) => this.#carrierSays(event));
  }

  /** Speaks into the answer for the human: as a barge-in does. */
  interrupt(): void {
    if (this.#isOver) return;
    this.#watch.close();
    if (this.#playout.isIdle && !this.#answers.isResponding) {
      // One that was asked for, such as the greeting, and has not begun.
      this.#sessions.current?.cancel();
      return;
    }
    const { sentMs, unheard, waitingMs } = this.#playout.interrupt();
    this.#timers.stop('noise');
    this.#filler?.forget();
    this.#stopAnswer();
    const told = unheard
      .filter((part) => !isOurs(part))
      .map((part) => ({ ...part, heardMs: this.#say(part, part.heardMs) }));
    this.#counts.interruptions += 1;
    this.#counts.droppedMs += sentMs + waitingMs;
    this.#tell({ kind: 'interrupted', unheard: told, sentMs, waitingMs });
    this.#endIfHeard();
  }

  /** Gives a tool's result to the model. A session that did not ask for it is told in words. */
  giveResult(toolCallId: string, output: string): void {
    if (this.#isOver) return;
    if (this.#askedTools.delete(toolCallId)) {
      this.#sessions.current?.giveResult(toolCallId, output);
      this.#watch.asked();
      return;
    }
    this.#tellModel(`The result of a tool that was asked for before: ${output}`);
    if (this.#sessions.ready !== undefined) this.#ask();
    else this.#owesAnswer = true;
  }

  /** Ends the call. Safe to call twice. */
  close(detail = ''): void {
    this.#end('closed', detail);
  }

  get #windowMs(): number {
    return this.#options.windowMs ?? 800;
  }

  #carrierSays(event: CarrierEvent): void {
    if (this.#isOver) return;
    switch (event.kind) {
      case 'audio':
        if (this.#leaving === undefined) this.#mouth.hear(event.timestampMs, event.audio);
        this.#watchSockets();
        break;
      case 'mark':
        if (!this.#playout.returned(event.name)) break;
        this.#watch.played();
        this.#endIfHeard();
        break;
      case 'digit':
        this.#tell({ kind: 'digit', digit: event.digit });
        this.#tellModel(`The caller pressed ${event.digit} on the telephone.`);
        break;
      case 'ended':
        this.#end(event.why === 'hangup' ? 'hangup' : `carrier_${event.why}`, event.detail);
        break;
    }
  }

  #modelSays(event: SessionEvent): void {
    switch (event.kind) {
      case 'ready':
        this.#ready();
        break;
      case 'responseStarted':
        this.#answers.started(event.responseId);
        this.#watch.sign();
        break;
      case 'audio':
        this.#takeAudio(event);
        break;
      case 'audioEnded':
        this.#answers.partEnded();
        if (this.#answers.isWanted(event.responseId)) this.#playout.end(event.part);
        break;
      case 'responseEnded':
        this.#responseEnded(event);
        break;
      case 'speechStarted':
        this.#speechStarted();
        break;
      case 'speechStopped':
        this.#speechStopped();
        break;
      case 'said':
        if (!event.isWhole) break;
        this.#conversation.said(event.part.itemId, event.text);
        this.#tell({ kind: 'said', itemId: event.part.itemId, text: event.text });
        break;
      case 'heard':
        if (!event.isWhole) break;
        this.#conversation.heard(event.text);
        this.#tell({ kind: 'heard', text: event.text });
        break;
      case 'toolCalled':
        this.#tell({ kind: 'toolCalled', callId: event.callId, name: event.name, input: event.input });
        this.#askedTools.add(event.callId);
        this.#tools?.ask(event.callId, event.name, event.input);
        break;
      case 'toolCancelled':
        this.#askedTools.delete(event.callId);
        this.#tools?.cancel(event.callId);
        break;
      case 'used':
      case 'warned':
        this.#tell(event);
        break;
      case 'drained':
        this.#mouth.drain();
        break;
    }
  }

  #ready(): void {
    const model = this.#sessions.ready;
    if (model === undefined) return;
    this.#tell({ kind: 'ready', waitedMs: this.#mouth.waitingMs });
    this.#mouth.listen(model);
    for (const text of this.#untold.splice(0)) model.tell(text);
    if (!this.#owesAnswer) return;
    this.#owesAnswer = false;
    // A session that takes over goes on with the conversation, and greets only if nobody has said a word.
    this.#ask(this.#conversation.soFar.length === 0 ? this.#options.greeting : undefined);
  }

  #speechStarted(): void {
    if (this.#options.onShortNoise !== 'resume' || this.#playout.isIdle) {
      this.interrupt();
      return;
    }
    this.#playout.hold();
    this.#timers.after('noise', this.#options.shortNoiseMs ?? 700, () => this.interrupt());
  }

  #speechStopped(): void {
    if (this.#timers.has('noise')) this.#resume();
    else if (this.#sessions.current?.answersItself === true) this.#watch.asked();
    else this.#ask();
  }

  /** It was a noise: what was held goes on. */
  #resume(): void {
    this.#timers.stop('noise');
    this.#tell({ kind: 'resumed', waitingMs: this.#playout.waitingMs });
    this.#playout.release();
  }

  #takeAudio({ audio, part, responseId }: Extract<ModelEvent, { readonly kind: 'audio' }>): void {
    const isWanted = this.#answers.came(responseId, part, audio.byteLength);
    if (!isWanted) return;
    this.#filler?.stop();
    this.#watch.spoke(this.#playout.isIdle);
    this.#playout.write(part, audio);
  }

  #responseEnded(event: Extract<ModelEvent, { readonly kind: 'responseEnded' }>): void {
    const { responseId, state, usage } = event;
    const isWanted = this.#answers.isWanted(responseId);
    this.#answers.ended(responseId);
    this.#watch.ended();
    this.#tell({ kind: 'responseEnded', state, usage });
    if (state !== 'failed') {
      this.#failedInARow = 0;
      this.#sessions.succeeded();
    } else if (isWanted) {
      this.#failedInARow += 1;
      if (this.#failedInARow === 1)
        this.#timers.after('ask', askAgainAfterMs, () => !this.#answers.isResponding && this.#ask());
      else
        this.#sessions.fail({
          code: 'response_failed',
          message: 'Two responses failed, one after the other.',
        });
    }
  }

  /** Asks for a response. */
  #ask(instructions?: string): void {
    this.#sessions.current?.respond(instructions);
    this.#watch.asked();
  }

  /** Lets go of a session. What came of it is played to its end. */
  #modelFailed(): void {
    if (this.#timers.has('noise')) this.#resume();
    this.#owesAnswer ||= this.#watch.isAwaited || this.#failedInARow > 0;
    const { openPart } = this.#answers;
    if (openPart !== undefined) this.#playout.end(openPart);
    this.#answers = new Answers(this.#carrier.format);
    this.#askedTools.clear();
    this.#failedInARow = 0;
    this.#timers.stop('ask');
    this.#watch.close();
    this.#mouth.wait();
  }

  #checkNext(model: ModelLeg): void {
    try {
      checkLegs({ ...this.#options, model });
    } catch (error) {
      model.close();
      throw error;
    }
  }

  /** Ends the call when the ear has heard what waits, and the farewell behind it. */
  #leave(reason: CallEndReason, detail: string): void {
    if (this.#isOver || this.#leaving !== undefined) return;
    this.#leaving = { reason, detail };
    if (this.#sessions.current !== undefined) this.#modelFailed();
    this.#sessions.close();
    this.#tools?.close();
    this.#filler?.stop();
    // An answer that may go on for minutes is no part of a call that is too long.
    if (reason === 'max_duration') this.#playout.interrupt();
    const { farewell } = this.#options;
    if (farewell !== undefined) {
      if (!this.#playout.write(farewellPart, farewell)) {
        this.#playout.interrupt();
        this.#playout.write(farewellPart, farewell);
      }
      this.#playout.end(farewellPart);
    }
    this.#endIfHeard();
  }

  #endIfHeard(): void {
    if (this.#leaving !== undefined && this.#playout.isIdle)
      this.#end(this.#leaving.reason, this.#leaving.detail);
  }

  /** Tells the model something, when it is ready. */
  #tellModel(text: string): void {
    if (this.#sessions.ready !== undefined) this.#sessions.ready.tell(text);
    else this.#untold = [...this.#untold, text].slice(-maxUntold);
  }

  /** The model makes no more of its answer, and what still comes of it is dropped. */
  #stopAnswer(): void {
    if (this.#answers.isResponding) this.#sessions.current?.cancel();
    this.#answers.dropAll();
  }

  /**
   * Tells the model how much of a part is heard, and returns that. An item of which nothing was heard is removed: cut to
   * nothing, it is refused. A session that has taken over knows no parts of the one before.
   */
  #say(part: SpokenPart, ms: number): number {
    if (!this.#answers.knows(part)) return Math.floor(ms);
    const heardMs = this.#answers.heardMs(part, ms);
    this.#conversation.cut(part.itemId, heardMs / this.#answers.cameMs(part));
    if (heardMs > 0) this.#sessions.current?.truncate(part, heardMs);
    else this.#sessions.current?.remove(part.itemId);
    return heardMs;
  }

  /** Looks at what has piled up in the sockets. */
  #watchSockets(): void {
    this.#carrierPressure.look(this.#carrier.bufferedMs);
    this.#modelPressure.look(this.#sessions.current?.unconfirmedMs ?? 0);
  }

  #pressureAt(at: 'carrier' | 'model'): Pressure {
    return new Pressure(this.#windowMs, (ms, isOver) => this.#tell({ kind: 'pressure', at, ms, isOver }));
  }

  #end(reason: CallEndReason, detail: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timers.stopAll();
    this.#watch.close();
    this.#tools?.close();
    this.#filler?.forget();
    this.#playout.close();
    this.#sessions.close();
    this.#carrier.close(reason === 'model_failed' ? goingAway : normal, reason);
    this.#tell({ kind: 'ended', reason, detail });
    this.#over.resolve(reason);
  }

  #tell(event: CallEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** Whether a part is none of a model's. */
function isOurs(part: SpokenPart): boolean {
  return Filler.is(part) || part.itemId === farewellPart.itemId;
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
