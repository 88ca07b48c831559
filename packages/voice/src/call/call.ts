import { systemClock } from '@spillway/core/clock';
import { type AudioGap, type HeardPart, msOfBytes, type SpokenPart } from '@spillway/core/audio';
import type { CarrierEvent, CarrierLeg } from '../carrier/carrier-leg.ts';
import type { ModelEvent } from '../model/model-leg.ts';
import { ToolRuns } from '../tools/tool-runs.ts';
import { AnswerWatch } from './answer-watch.ts';
import type { CallEndReason, CallEvent } from './call-event.ts';
import { type CallFigures, waitingIn } from './call-figures.ts';
import { type CallOptions, checkCallOptions, checkedNext, checkLegs } from './call-options.ts';
import type { Utterance } from './conversation.ts';
import { Dialogue } from './dialogue.ts';
import { Filler } from './filler.ts';
import { Mouth } from './mouth.ts';
import { farewellPart, isOurs } from './own-parts.ts';
import { type SessionEvent, Sessions } from './sessions.ts';
import { SocketPressure } from './socket-pressure.ts';
import { Timers } from './timers.ts';
import { WatchedPlayout } from './watched-playout.ts';

/** How long a response that has failed waits until it is asked for once more. */
const askAgainAfterMs = 1000;
/** WebSocket close codes: all is over; the other side cannot go on. */
const normal = 1000;
const goingAway = 1001;

/**
 * A call between a human and a model: what the human says goes to the model, bounded and on its own clock; what the model says
 * goes to the ear, no faster than it is heard. When the human speaks into an answer, in this order and at once: nothing more
 * is sent, the ear drops what it has, the model stops, and is told what was heard of each part; what still comes of the
 * old answer is dropped by its id.
 *
 * One file, because each event of one end changes what the other one gets, and their order is the promise. What can stand alone
 * has a file of its own: sessions, tools, words, the way to the ear and the way from the mouth.
 */
export class Call {
  readonly #carrier: CarrierLeg;
  readonly #options: CallOptions;
  readonly #playout: WatchedPlayout;
  readonly #mouth: Mouth;
  readonly #timers: Timers<'ask' | 'duration' | 'noise'>;
  readonly #watch: AnswerWatch;
  readonly #tools: ToolRuns | undefined;
  readonly #filler: Filler | undefined;
  readonly #over = Promise.withResolvers<CallEndReason>();
  readonly #sessions: Sessions;
  readonly #dialogue: Dialogue;
  #isOver = false;
  /** Why the call ends as soon as the ear has heard what waits. */
  #leaving: { readonly reason: CallEndReason; readonly detail: string } | undefined;
  /** Whether the caller waits for an answer that the next session has to give. */
  #owesAnswer: boolean;
  #failedInARow = 0;
  readonly #pressure: SocketPressure;
  readonly #counts = { interruptions: 0, underruns: 0, droppedMs: 0, lostMs: 0, reopened: 0 };

  constructor(options: CallOptions) {
    checkLegs(options);
    checkCallOptions(options);
    const { carrier, clock = systemClock, filler, model, tools } = options;
    this.#options = options;
    this.#carrier = carrier;
    this.#dialogue = new Dialogue(model.output);
    this.#owesAnswer = options.greeting !== undefined;
    this.#timers = new Timers(clock);
    const { stallTimeoutMs = 10_000, windowMs = 800 } = options;
    this.#pressure = new SocketPressure(windowMs, (at, ms, isOver) =>
      this.#tell({ kind: 'pressure', at, ms, isOver }),
    );
    this.#playout = new WatchedPlayout({
      carrier,
      stallTimeoutMs,
      onStalled: () => this.#end('ear_stalled', `The ear confirmed nothing for ${stallTimeoutMs} ms.`),
      clock,
      windowMs,
      maxWaitingMs: options.maxAnswerMs ?? 120_000,
      onUnderrun: (ms) => {
        this.#counts.underruns += 1;
        this.#tell({ kind: 'underrun', ms });
      },
      onCut: (part, keptMs) => {
        if (isOurs(part)) return;
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
      onGap: (gap) => this.#lose(gap),
      onMissing: (atMs, ms) => this.#tell({ kind: 'missing', atMs, ms }),
    });
    const { answerTimeoutMs = 20_000, readyTimeoutMs = 10_000, reopenModel } = options;
    this.#sessions = new Sessions({
      clock,
      readyTimeoutMs,
      reopen:
        reopenModel && ((failure) => checkedNext(this.#options, reopenModel(this.#dialogue.soFar, failure))),
      onEvent: (event) => this.#modelSays(event),
      onFailed: () => this.#modelFailed(),
      onReopening: (failure, inMs) => this.#tell({ kind: 'reopening', ...failure, inMs }),
      onOpened: (next) => {
        this.#dialogue.begin(next.output);
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

  /**
   * What was said so far. What the human did not hear of an answer is left out when that is known: after an interruption, and when
   * the call has ended. While an answer plays, it has all words of it that are known.
   */
  get conversation(): readonly Utterance[] {
    return this.#dialogue.soFar;
  }

  /** What waits now. */
  get figures(): CallFigures {
    const places = {
      mouth: this.#mouth,
      model: this.#sessions.current,
      playout: this.#playout,
      carrier: this.#carrier,
    };
    return { ...waitingIn(places), ...this.#counts };
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
    if (this.#playout.isIdle && !this.#dialogue.answers.isResponding) {
      // One that was asked for, such as the greeting, and has not begun.
      this.#sessions.current?.cancel();
      return;
    }
    const { sentMs, unheard, waitingMs } = this.#playout.interrupt();
    this.#timers.stop('noise');
    this.#filler?.forget();
    this.#stopAnswer();
    this.#tellUnheard();
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
    if (this.#sessions.giveResult(toolCallId, output)) {
      this.#watch.asked();
      return;
    }
    this.#sessions.tell(`The result of a tool that was asked for before: ${output}`);
    if (this.#sessions.ready !== undefined) this.#ask();
    else this.#owesAnswer = true;
  }

  /**
   * Ends the call because a limit is reached: the model's session is closed at once, and the call, with the reason `limit`, when
   * the ear has heard what came and the farewell. Safe to call twice.
   */
  finish(detail = ''): void {
    this.#leave('limit', detail);
  }

  /** Ends the call. Safe to call twice. */
  close(detail = ''): void {
    this.#end('closed', detail);
  }

  #carrierSays(event: CarrierEvent): void {
    if (this.#isOver) return;
    switch (event.kind) {
      case 'audio':
        if (this.#leaving === undefined) this.#mouth.hear(event.timestampMs, event.audio);
        this.#pressure.look('carrier', this.#carrier.bufferedMs);
        this.#pressure.look('model', this.#sessions.current?.unconfirmedMs ?? 0);
        break;
      case 'mark':
        if (!this.#playout.returned(event.name)) break;
        this.#watch.played();
        this.#tellUnheard();
        this.#endIfHeard();
        break;
      case 'digit':
        this.#tell({ kind: 'digit', digit: event.digit });
        this.#sessions.tell(`The caller pressed ${event.digit} on the telephone.`);
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
        this.#dialogue.answers.started(event.responseId);
        this.#watch.sign();
        break;
      case 'audio':
        this.#takeAudio(event);
        break;
      case 'audioEnded':
        this.#dialogue.answers.partEnded();
        if (this.#dialogue.answers.isWanted(event.responseId)) this.#playout.end(event.part);
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
        this.#said(event);
        break;
      case 'heard':
        if (!event.isWhole) break;
        this.#dialogue.heard(event.text);
        this.#tell({ kind: 'heard', text: event.text });
        break;
      case 'toolCalled':
        this.#tell({ kind: 'toolCalled', callId: event.callId, name: event.name, input: event.input });
        this.#sessions.asksFor(event.callId);
        if (!this.#isOver) this.#tools?.ask(event.callId, event.name, event.input);
        break;
      case 'toolCancelled':
        this.#sessions.dropsTool(event.callId);
        this.#tools?.cancel(event.callId);
        break;
      case 'nothingHeard':
        this.#watch.ended();
        break;
      case 'gap':
        this.#lose(event);
        break;
      case 'stageFailed':
      case 'stageResult':
      case 'used':
      case 'warned':
        this.#tell(event);
        break;
      case 'drained':
        this.#mouth.drain();
        break;
    }
  }

  #lose({ fromMs, isSilence, toMs }: AudioGap): void {
    this.#counts.lostMs += toMs - fromMs;
    this.#tell({ kind: 'gap', fromMs, toMs, isSilence });
  }

  #ready(): void {
    const model = this.#sessions.ready;
    if (model === undefined) return;
    this.#tell({ kind: 'ready', waitedMs: this.#mouth.waitingMs });
    if (this.#isOver) return;
    this.#mouth.listen(model);
    if (!this.#owesAnswer) return;
    this.#owesAnswer = false;
    // A session that takes over goes on with the conversation, and greets only if nobody has said a word.
    this.#ask(this.#dialogue.soFar.length === 0 ? this.#options.greeting : undefined);
  }

  #speechStarted(): void {
    if (this.#options.onShortNoise !== 'resume' || this.#playout.isIdle) {
      this.interrupt();
      return;
    }
    this.#playout.hold();
    if (!this.#timers.has('noise'))
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
    if (audio.byteLength === 0) return;
    const isNew = !this.#dialogue.answers.knows(part);
    const isWanted = this.#dialogue.answers.came(responseId, part, audio.byteLength);
    // It was on its way while its answer was dropped, so that nobody has said yet that it was not heard.
    if (!isWanted && isNew) this.#say(part, 0);
    if (!isWanted) return;
    this.#filler?.stop();
    this.#watch.spoke(this.#playout.isIdle);
    this.#playout.write(part, audio);
    this.#tellUnheard();
  }

  /** Tells a model that makes speech bit by bit what the ear still has to play. While it plays, more is due and not late. */
  #tellUnheard(): void {
    const model = this.#sessions.current;
    if (model?.unheard === undefined) return;
    if (this.#watch.isAwaited) this.#watch.sign();
    model.unheard(this.#playout.waitingMs + this.#playout.unconfirmedMs);
  }

  #responseEnded(event: Extract<ModelEvent, { readonly kind: 'responseEnded' }>): void {
    const { responseId, state, usage } = event;
    const isWanted = this.#dialogue.answers.isWanted(responseId);
    const hasAudio = this.#dialogue.answers.ended(responseId);
    this.#watch.ended();
    this.#tell({ kind: 'responseEnded', state, usage });
    if (this.#isOver) return;
    if (state !== 'failed') {
      // What the human stopped before anything came of it shows nothing.
      if (state === 'cancelled' && !hasAudio) return;
      this.#failedInARow = 0;
      this.#sessions.succeeded();
    } else if (isWanted) {
      this.#failedInARow += 1;
      if (this.#failedInARow === 1)
        this.#timers.after('ask', askAgainAfterMs, () => !this.#dialogue.answers.isResponding && this.#ask());
      else
        this.#sessions.fail({
          code: 'response_failed',
          message: 'Two responses failed, one after the other.',
        });
    }
  }

  /** Asks for a response. */
  #ask(instructions?: string): void {
    if (this.#isOver) return;
    this.#sessions.current?.respond(instructions);
    this.#watch.asked();
  }

  /** Lets go of a session. What came of it is played to its end. */
  #modelFailed(): void {
    if (this.#timers.has('noise')) this.#resume();
    this.#owesAnswer ||= this.#watch.isAwaited || this.#failedInARow > 0;
    const { openPart } = this.#dialogue.answers;
    if (openPart !== undefined) this.#playout.end(openPart);
    this.#settle();
    this.#failedInARow = 0;
    this.#timers.stop('ask');
    this.#watch.close();
    this.#mouth.wait();
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
    if (reason === 'max_duration') this.#dropSpeech();
    const { farewell } = this.#options;
    if (farewell !== undefined) {
      const farewellMs = msOfBytes(this.#carrier.format, farewell.byteLength);
      // There is not room for both.
      if (this.#playout.waitingMs + farewellMs > (this.#options.maxAnswerMs ?? 120_000)) this.#dropSpeech();
      this.#playout.write(farewellPart, farewell);
      this.#playout.end(farewellPart);
    }
    this.#endIfHeard();
  }

  #endIfHeard(): void {
    if (this.#leaving !== undefined && this.#playout.isIdle)
      this.#end(this.#leaving.reason, this.#leaving.detail);
  }

  /** The model makes no more of its answer, and what still comes of it is dropped. */
  #stopAnswer(): void {
    if (this.#dialogue.answers.isResponding) this.#sessions.current?.cancel();
    this.#dialogue.answers.dropAll();
  }

  /**
   * Tells the model how much of a part is heard, and returns that. An item of which nothing was heard is removed: cut to
   * nothing, it is refused. A session that has taken over knows no parts of the one before.
   */
  #say(part: SpokenPart, ms: number): number {
    const heardMs = this.#dialogue.cut(part, ms);
    if (!this.#dialogue.answers.knows(part)) return heardMs;
    if (heardMs > 0) this.#sessions.current?.truncate(part, heardMs);
    else this.#sessions.current?.remove(part.itemId);
    return heardMs;
  }

  /** Drops what the ear has not heard, without a model that could be told. */
  #dropSpeech(): void {
    this.#cut(this.#playout.interrupt().unheard);
  }

  #cut(unheard: readonly HeardPart[]): void {
    for (const part of unheard) if (!isOurs(part)) this.#dialogue.cut(part, part.heardMs);
  }

  #said({ isWhole, part, text, words }: Extract<ModelEvent, { readonly kind: 'said' }>): void {
    this.#dialogue.said(part, text, isWhole, words);
    if (isWhole) this.#tell({ kind: 'said', itemId: part.itemId, text });
  }

  /** No more words come of a session: those that came are all there are. */
  #settle(): void {
    for (const { itemId, text } of this.#dialogue.settle()) this.#tell({ kind: 'said', itemId, text });
  }

  #end(reason: CallEndReason, detail: string): void {
    if (this.#isOver) return;
    this.#settle();
    // Whoever was told may have ended it.
    if (this.#isOver) return;
    this.#cut(this.#playout.unheard);
    this.#isOver = true;
    this.#timers.stopAll();
    this.#watch.close();
    this.#tools?.close();
    this.#filler?.forget();
    this.#playout.close();
    this.#mouth.close();
    this.#sessions.close();
    this.#carrier.close(reason === 'model_failed' ? goingAway : normal, reason);
    this.#tell({ kind: 'ended', reason, detail });
    this.#over.resolve(reason);
  }

  /** Nothing follows the end. */
  #tell(event: CallEvent): void {
    if (!this.#isOver || event.kind === 'ended') this.#options.onEvent?.(event);
  }
}

/**
 * Opens a call between a carrier's leg and a model's. Both ends are the call's from now on: it closes them.
 *
 * @throws {SpillwayError} `invalid_option` when the formats of the ends differ, or for a number out of its range. Then both ends are
 * still the caller's.
 */
export function openCall(options: CallOptions): Call {
  const call = new Call(options);
  call.begin();
  return call;
}
