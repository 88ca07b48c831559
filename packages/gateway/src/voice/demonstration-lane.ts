import { silence, telephoneAudio } from '@spillway/core/audio';
import type { SimulatedCall } from '@spillway/voice/simulate/carrier';
import type { DemonstrationInterruption, Lane, LaneSample } from './demonstration-lines.ts';

/** One bridge of a demonstration, seen from both of its ends. */
export interface LaneOptions {
  readonly lane: Lane;
  readonly call: SimulatedCall;
  /** What the bridge has now, in milliseconds of audio. */
  readonly bridge: () => BridgeState;
}

/** What a bridge says about itself. */
export interface BridgeState {
  /** Of the answer, and of the caller for the model. */
  readonly waitingMs: number;
  readonly toModelMs: number;
  readonly marksOut: number;
}

/** What a bridge did when the caller spoke. */
export interface BridgeReaction {
  readonly toldMs: number;
  readonly droppedInBridgeMs: number;
}

/** An answer that the caller speaks into, while some of it may still be heard. */
interface Unwanted {
  readonly sinceMs: number;
  /** When its end is heard, if nobody drops it. */
  endMs: number;
  readonly clears: number;
}

/** Less than this of an answer is no answer that somebody speaks into. */
const minUnwantedMs = 100;
/** Audio that begins so soon after other audio goes on with it. */
const samePieceMs = 5;

/** What is heard and what waits in one of the two calls. Times are milliseconds since the demonstration began. */
export class DemonstrationLane {
  readonly lane: Lane;
  readonly call: SimulatedCall;
  readonly #bridge: () => BridgeState;
  /** Of the call, when the demonstration began. */
  readonly offsetMs: number;
  #unwanted: Unwanted | undefined;
  #reaction: BridgeReaction | undefined;

  constructor({ bridge, call, lane }: LaneOptions) {
    this.lane = lane;
    this.call = call;
    this.#bridge = bridge;
    this.offsetMs = call.nowMs;
  }

  /** The caller speaks into what is heard now. */
  speakInto(clip: Uint8Array): void {
    const { call } = this;
    const endMs = this.#endMs;
    if (endMs - call.nowMs >= minUnwantedMs) {
      // One that still plays from before goes on, with what came behind it.
      this.#unwanted ??= { sinceMs: call.nowMs, endMs, clears: call.clears.length };
      this.#unwanted.endMs = endMs;
    }
    call.say(clip);
  }

  /** The bridge has told the model what was heard. */
  reacted(reaction: BridgeReaction): void {
    if (this.#unwanted !== undefined) this.#reaction ??= reaction;
  }

  sample(fromMs: number, toMs: number): LaneSample {
    const { call } = this;
    const { marksOut, toModelMs, waitingMs } = this.#bridge();
    const ear = call.heardBetween(fromMs + this.offsetMs, toMs + this.offsetMs);
    const unwantedMs = this.#unwanted === undefined ? 0 : Math.max(0, this.#unwanted.endMs - call.nowMs);
    return {
      ear: base64(ear),
      atEarMs: Math.round(call.bufferedMs),
      inBridgeMs: Math.round(waitingMs),
      unwantedMs: Math.round(Math.min(unwantedMs, call.bufferedMs + waitingMs)),
      toModelMs: Math.round(toModelMs),
      marksOut,
      marksBack: call.marks.length,
    };
  }

  /** What became of an answer that was spoken into, once nothing of it is heard any more. `isOver`: the call is. */
  settled(isOver: boolean): DemonstrationInterruption | undefined {
    const { call } = this;
    const unwanted = this.#unwanted;
    if (unwanted === undefined) return undefined;
    const clear = call.clears[unwanted.clears];
    // While the caller speaks, nothing of a new answer comes.
    if (clear === undefined && !call.isQuiet) unwanted.endMs = Math.max(unwanted.endMs, this.#endMs);
    if (clear === undefined && !isOver && call.nowMs < unwanted.endMs) return undefined;
    const quietMs = clear?.atMs ?? Math.min(unwanted.endMs, call.nowMs);
    const reaction = this.#reaction;
    this.#unwanted = undefined;
    this.#reaction = undefined;
    return {
      kind: 'interruption',
      lane: this.lane,
      atMs: Math.round(unwanted.sinceMs - this.offsetMs),
      quietAfterMs: Math.round(quietMs - unwanted.sinceMs),
      heardMs: clear === undefined ? null : Math.round(this.#heardUntil(clear.atMs)),
      toldMs: reaction?.toldMs ?? null,
      droppedAtEarMs: Math.round(clear?.droppedMs ?? 0),
      droppedInBridgeMs: Math.round(reaction?.droppedInBridgeMs ?? 0),
    };
  }

  /** When all is heard that the ear and the bridge have. */
  get #endMs(): number {
    return this.call.nowMs + this.call.bufferedMs + this.#bridge().waitingMs;
  }

  /** How much was played in one go until a moment. */
  #heardUntil(endMs: number): number {
    let fromMs = endMs;
    for (const { atMs, ms } of this.call.played.toReversed()) {
      if (atMs >= endMs) continue;
      if (fromMs - (atMs + ms) > samePieceMs) break;
      fromMs = atMs;
    }
    return endMs - fromMs;
  }
}

/** What was said of clips between two moments of a call, as its carrier sends it. */
export function saidBetween(
  { said }: Pick<SimulatedCall, 'said'>,
  clips: readonly Uint8Array[],
  fromMs: number,
  toMs: number,
): string {
  const bytesPerMs = telephoneAudio.sampleRateHz / 1000;
  const mouth = silence(telephoneAudio, Math.round((toMs - fromMs) * bytesPerMs));
  for (const [index, { atMs }] of said.entries()) {
    const clip = clips[index];
    const at = Math.round((atMs - fromMs) * bytesPerMs);
    if (clip === undefined || at >= mouth.byteLength || at + clip.byteLength <= 0) continue;
    mouth.set(clip.subarray(Math.max(0, -at), mouth.byteLength - at), Math.max(0, at));
  }
  return base64(mouth);
}

/** Audio as text; silence is empty. */
function base64(audio: Uint8Array): string {
  if (audio.every((byte) => byte === 0xff)) return '';
  return Buffer.from(audio.buffer, audio.byteOffset, audio.byteLength).toString('base64');
}
