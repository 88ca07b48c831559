import { decodeMulaw } from '@spillway/core/audio';
import type { Lane } from '../../../packages/gateway/src/voice/demonstration-lines.ts';

const sampleRateHz = 8000;
/** So much is in hand before anything sounds: lines come ten times a second, and late at times. */
const cushionS = 0.4;
/** From one bridge to the other without a click. */
const fadeS = 0.02;

/** Whose voice. */
type Voice = Lane | 'mouth';

/** What of a call is played in one stretch: µ-law in base64; empty is silence. */
export interface HeardStretch {
  readonly fromMs: number;
  readonly toMs: number;
  readonly mouth: string;
  readonly spillway: string;
  readonly naive: string;
}

/**
 * Plays a call that comes in stretches: the caller and both bridges on one clock, and one of these is heard. Made where
 * somebody pressed a button, because a browser plays nothing otherwise.
 */
export class CallPlayer {
  // At the rate of telephones, so that stretches are joined sample by sample, and the device resamples their sum.
  readonly #context = new AudioContext({ sampleRate: sampleRateHz });
  readonly #meter = new AnalyserNode(this.#context, { fftSize: 1024 });
  readonly #gains: Readonly<Record<Voice, GainNode>>;
  readonly #wave = new Float32Array(this.#meter.fftSize);
  /** The context's time at which the call began. */
  #beginS: number | undefined;

  constructor(heard: Lane) {
    this.#gains = {
      mouth: this.#voice(-0.35, 1),
      spillway: this.#voice(0.35, heard === 'spillway' ? 1 : 0),
      naive: this.#voice(0.35, heard === 'naive' ? 1 : 0),
    };
    this.#meter.connect(this.#context.destination);
    void this.#context.resume();
  }

  /** The effective value of what is heard now, in parts of full scale. */
  get level(): number {
    this.#meter.getFloatTimeDomainData(this.#wave);
    return Math.sqrt(this.#wave.reduce((sum, value) => sum + value * value, 0) / this.#wave.length);
  }

  /** Lets another bridge be heard. */
  hear(heard: Lane): void {
    for (const name of ['spillway', 'naive'] as const) {
      this.#gains[name].gain.setTargetAtTime(name === heard ? 1 : 0, this.#context.currentTime, fadeS);
    }
  }

  play(stretch: HeardStretch): void {
    const { currentTime } = this.#context;
    const dueS = (this.#beginS ?? -Infinity) + stretch.fromMs / 1000;
    // The first one, or one that is too late to be heard whole: from here on, all is heard later.
    if (dueS < currentTime) this.#beginS = currentTime + cushionS - stretch.fromMs / 1000;
    const atS = (this.#beginS ?? 0) + stretch.fromMs / 1000;
    for (const name of ['mouth', 'spillway', 'naive'] as const) this.#play(stretch[name], atS, name);
  }

  /** Ends the sound: now, or when what is in hand was heard. Safe to call twice. */
  close(isNow: boolean): void {
    const close = (): void => {
      if (this.#context.state !== 'closed') void this.#context.close();
    };
    if (isNow) close();
    else setTimeout(close, (cushionS + 0.2) * 1000);
  }

  #play(base64: string, atS: number, name: Voice): void {
    if (base64 === '') return;
    const samples = decodeMulaw(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)));
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: sampleRateHz });
    buffer.copyToChannel(
      Float32Array.from(samples, (sample) => sample / 32_768),
      0,
    );
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#gains[name]);
    source.start(atS);
  }

  #voice(pan: number, gain: number): GainNode {
    const voice = new GainNode(this.#context, { gain });
    voice.connect(new StereoPannerNode(this.#context, { pan })).connect(this.#meter);
    return voice;
  }
}
