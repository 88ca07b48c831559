import { randomUUID } from 'node:crypto';
import type { Timer } from '@spillway/core/clock';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { placeCall, type SimulatedCall } from '@spillway/voice/simulate/carrier';
import { type NaiveCall, serveNaiveBridge } from '@spillway/voice/simulate/naive-bridge';
import { speech, type SpeechName } from '@spillway/voice/simulate/speech';
import type { Calls } from './calls.ts';
import { DemonstrationLane, saidBetween } from './demonstration-lane.ts';
import type { DemonstrationEnd, DemonstrationLine } from './demonstration-lines.ts';

/** Where a demonstration calls, and who watches it. */
export interface DemonstrationOptions {
  readonly calls: Pick<Calls, 'figuresOf' | 'listen'>;
  readonly clock: ServerClock;
  /** Whether the gateway takes calls. Once it does not, the demonstration ends. */
  readonly isReady: () => boolean;
  /** Where this gateway takes a carrier's socket, and its simulated model. */
  readonly voiceUrl: string;
  /** What the call to this gateway shows, so that it is known as a demonstration's. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly modelUrl: string;
  /** Audio that this gateway lets be on its way to an ear. */
  readonly windowMs: number;
  /** Called for each line, the last one at the end. */
  readonly tell: (line: DemonstrationLine) => void;
}

const sampleEveryMs = 100;
const maxDurationMs = 120_000;
/** A call that nobody ended ends so much later. */
const closeMs = 10_000;
/** An answer has begun when so much of it was heard, which is more than what is heard of the one before it. */
const answeredMs = 800;
/** It is over after so much silence, which is more than its sentences have between them. */
const overMs = 900;
/** The caller hangs up so much after its last word. */
const farewellMs = 300;
/**
 * The caller speaks into the long answer by itself after so much of it, so that nobody has to press anything: when all of it is
 * made, and most of it is not heard.
 */
const patienceMs = 2000;

/**
 * The same call twice, at the same time: with this gateway, and with a naive bridge. One caller says the same to both, and a
 * page hears and sees what comes of it.
 */
export class Demonstration {
  readonly id: string = randomUUID();
  readonly #options: DemonstrationOptions;
  readonly #timers: Timer[] = [];
  readonly #clips: Uint8Array[] = [];
  readonly #over = Promise.withResolvers<void>();
  #lanes: readonly DemonstrationLane[] = [];
  /** Each lets go of something, and resolves when that is gone. */
  readonly #releases: (() => Promise<unknown>)[] = [];
  #startMs = 0;
  #sampledMs = 0;
  #isOver = false;

  constructor(options: DemonstrationOptions) {
    this.#options = options;
  }

  /** Resolves when it is over and nothing is left of it. Never rejects. */
  get ended(): Promise<void> {
    return this.#over.promise;
  }

  /** Places both calls, and lets them speak. Resolves when they have begun, or could not. */
  async begin(): Promise<void> {
    const { clock } = this.#options;
    try {
      await this.#open();
    } catch {
      // A call was refused, or it was closed meanwhile.
      this.close('failed');
      return;
    }
    this.#startMs = clock.nowMs();
    this.#timers.push(
      clock.every(sampleEveryMs, () => this.#sample()),
      clock.after(maxDurationMs, () => this.close('too_long')),
    );
    void this.#converse();
  }

  /** The caller speaks into the answer, in both calls. Not while it is speaking. */
  interrupt(): void {
    if (this.#lanes.every(({ call }) => call.isQuiet)) this.#say('caller-interruption', true);
  }

  /** Ends it. Safe to call twice. */
  close(why: DemonstrationEnd['why']): void {
    if (this.#isOver) return;
    if (this.#lanes.length > 0) this.#sample(true);
    this.#isOver = true;
    for (const timer of this.#timers) timer.stop();
    this.#options.tell({ kind: 'ended', why });
    // The bridge was opened first, and goes last.
    const gone = this.#releases.toReversed().map(async (release) => await release());
    void Promise.allSettled(gone).then(() => this.#over.resolve());
  }

  async #open(): Promise<void> {
    const { calls, modelUrl, parameters, tell, voiceUrl, windowMs } = this.#options;
    let naiveCall: NaiveCall | undefined;
    const bridge = await serveNaiveBridge({
      modelUrl: `${modelUrl}?model=simulated`,
      greeting: 'Say hello.',
      onCall: (call) => (naiveCall = call),
    });
    this.#keep(() => bridge.close());
    const [own, other] = await Promise.all([this.#place(voiceUrl, parameters), this.#place(bridge.url)]);
    const spillway = new DemonstrationLane({
      lane: 'spillway',
      call: own,
      bridge: () => {
        const figures = calls.figuresOf(own.streamId);
        return {
          waitingMs: (figures?.outWaitingMs ?? 0) + (figures?.outSocketMs ?? 0),
          toModelMs: (figures?.inWaitingMs ?? 0) + (figures?.inSocketMs ?? 0),
          marksOut: figures?.marksOut ?? 0,
        };
      },
    });
    let told = 0;
    const naive = new DemonstrationLane({
      lane: 'naive',
      call: other,
      bridge: () => {
        const { toldMs = [], unsentMs = 0 } = naiveCall ?? {};
        const [latest] = toldMs.slice(told);
        told = toldMs.length;
        if (latest !== undefined) naive.reacted({ toldMs: latest, droppedInBridgeMs: 0 });
        return { waitingMs: 0, toModelMs: unsentMs, marksOut: 0 };
      },
    });
    const leave = calls.listen(own.streamId, (event) => {
      if (event.kind === 'said') this.#tellWords('model', event.text);
      if (event.kind !== 'interrupted') return;
      const toldMs = event.unheard.reduce((sum, { heardMs }) => sum + heardMs, 0);
      spillway.reacted({ toldMs, droppedInBridgeMs: event.waitingMs });
    });
    this.#keep(async () => leave());
    this.#lanes = [spillway, naive];
    tell({ kind: 'began', id: this.id, callId: own.callId, windowMs });
  }

  async #place(url: string, parameters = {}): Promise<SimulatedCall> {
    const call = await placeCall(url, { maxDurationMs: maxDurationMs + closeMs, parameters });
    this.#keep(async () => {
      call.hangUp();
      await call.ended;
    });
    return call;
  }

  /** Lets go of something at the end, or at once if that was meanwhile. */
  #keep(release: () => Promise<unknown>): void {
    if (!this.#isOver) {
      this.#releases.push(release);
      return;
    }
    void release();
    throw new Error('The demonstration is over.');
  }

  /** The caller's part of the conversation. It follows the call at this gateway: the other one gets the same words. */
  async #converse(): Promise<void> {
    const [own] = this.#lanes;
    if (own === undefined) return;
    await this.#answered(own.call);
    this.#say('caller-hello');
    await this.#answered(own.call);
    this.#say('caller-question');
    const asked = this.#clips.length;
    await own.call.whenHeard(patienceMs, maxDurationMs);
    if (this.#clips.length === asked) this.interrupt();
    await this.#answered(own.call);
    this.#say('caller-goodbye');
    await own.call.whenSaid();
    await own.call.wait(farewellMs);
    this.close(own.call.isOver ? 'failed' : 'over');
  }

  /** Waits until the latest words are answered, and the answer is over. Whoever speaks meanwhile gets another answer. */
  async #answered(call: SimulatedCall): Promise<void> {
    let isAnswered = false;
    while (!isAnswered && !call.isOver) {
      await call.whenHeard(answeredMs, maxDurationMs);
      await call.whenQuiet(overMs, maxDurationMs);
      isAnswered = call.heardMs >= answeredMs;
    }
  }

  #say(name: SpeechName, isInterruption = false): void {
    if (this.#isOver || this.#lanes.some(({ call }) => call.isOver)) return;
    const { audio, text } = speech(name);
    this.#clips.push(audio);
    for (const lane of this.#lanes) {
      if (isInterruption) lane.speakInto(audio);
      else lane.call.say(audio);
    }
    this.#tellWords('caller', text);
  }

  #tellWords(who: 'caller' | 'model', text: string): void {
    const { clock, tell } = this.#options;
    if (!this.#isOver) tell({ kind: 'words', who, atMs: Math.round(clock.nowMs() - this.#startMs), text });
  }

  #sample(isLast = false): void {
    const { clock, isReady, tell } = this.#options;
    const [spillway, naive] = this.#lanes;
    if (this.#isOver || spillway === undefined || naive === undefined) return;
    const fromMs = this.#sampledMs;
    const toMs = Math.floor(clock.nowMs() - this.#startMs);
    if (toMs <= fromMs) return;
    this.#sampledMs = toMs;
    const offsetMs = spillway.offsetMs;
    tell({
      kind: 'sample',
      fromMs,
      toMs,
      mouth: saidBetween(spillway.call, this.#clips, fromMs + offsetMs, toMs + offsetMs),
      lanes: { spillway: spillway.sample(fromMs, toMs), naive: naive.sample(fromMs, toMs) },
    });
    for (const lane of this.#lanes) {
      const interruption = lane.settled(isLast);
      if (interruption !== undefined) tell(interruption);
    }
    if (isLast) return;
    if (!isReady()) this.close('stopping');
    else if (this.#lanes.some(({ call }) => call.isOver)) this.close('failed');
  }
}
