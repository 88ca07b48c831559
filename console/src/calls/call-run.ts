import { decodeMulaw } from '@spillway/core/audio';
import type {
  DemonstrationBegin,
  DemonstrationEnd,
  DemonstrationInterruption,
  DemonstrationLine,
  DemonstrationSample,
  DemonstrationWords,
  Lane,
} from '../../../packages/gateway/src/voice/demonstration-lines.ts';
import type { Feed } from '../feed.ts';
import { CallPlayer } from './call-player.ts';

/** How loud a stretch of the call was, in parts of the loudest speech, and whether nobody wanted to hear it any more. */
export interface Loudness {
  readonly fromMs: number;
  readonly toMs: number;
  readonly mouth: number;
  readonly ears: Readonly<Record<Lane, number>>;
  readonly unwanted: Readonly<Record<Lane, boolean>>;
}

/** The last part of a call that is drawn. */
export const shownMs = 20_000;
/** The words that are shown. */
const maxWords = 4;
/** Speech on a telephone is seldom louder, in parts of full scale. */
const loudest = 0.25;

/** A call that is placed twice, as it goes. */
export class CallRun {
  begin: DemonstrationBegin | undefined;
  now: DemonstrationSample | undefined;
  end: DemonstrationEnd['why'] | undefined;
  /** Why there is no call. */
  problem = '';
  loudness: readonly Loudness[] = [];
  words: readonly DemonstrationWords[] = [];
  /** The latest of each bridge. */
  readonly interruptions: Partial<Record<Lane, DemonstrationInterruption>> = {};
  readonly #feed: Feed;
  readonly #player: CallPlayer;
  readonly #leave = new AbortController();

  /** `onChange`: something is to be drawn. Made where a button was pressed. */
  constructor(feed: Feed, heard: Lane, onChange: () => void) {
    this.#feed = feed;
    this.#player = new CallPlayer(heard);
    void this.#read(onChange);
  }

  get isOver(): boolean {
    return this.end !== undefined || this.problem !== '';
  }

  /** How loud it is now, 0 to 1. */
  get level(): number {
    return Math.min(1, this.#player.level / loudest);
  }

  hear(heard: Lane): void {
    this.#player.hear(heard);
  }

  /** The caller speaks into the answer. */
  async interrupt(): Promise<void> {
    if (this.begin === undefined || this.isOver) return;
    // Who is too late has nothing to interrupt.
    await this.#feed.act(`playground/calls/${this.begin.id}/interrupt`).catch(() => undefined);
  }

  stop(): void {
    if (this.isOver) return;
    this.end = 'over';
    this.#leave.abort();
    this.#player.close(true);
  }

  async #read(onChange: () => void): Promise<void> {
    try {
      await this.#feed.readLines(
        'playground/calls',
        (line) => {
          this.#take(line as DemonstrationLine);
          onChange();
        },
        this.#leave.signal,
      );
      if (this.end === undefined) this.problem = 'The connection was lost.';
    } catch (error) {
      if (this.end === undefined) this.problem = error instanceof Error ? error.message : String(error);
    }
    this.#player.close(false);
    onChange();
  }

  #take(line: DemonstrationLine): void {
    switch (line.kind) {
      case 'began':
        this.begin = line;
        break;
      case 'sample':
        this.#sample(line);
        break;
      case 'words':
        this.words = [...this.words, line].slice(-maxWords);
        break;
      case 'interruption':
        this.interruptions[line.lane] = line;
        break;
      case 'ended':
        this.end = line.why;
        break;
    }
  }

  #sample(sample: DemonstrationSample): void {
    const { fromMs, lanes, mouth, toMs } = sample;
    const { naive, spillway } = lanes;
    this.#player.play({ fromMs, toMs, mouth, spillway: spillway.ear, naive: naive.ear });
    this.now = sample;
    this.loudness = [
      ...this.loudness.filter((was) => was.toMs > toMs - shownMs),
      {
        fromMs,
        toMs,
        mouth: loudnessOf(mouth),
        ears: { spillway: loudnessOf(spillway.ear), naive: loudnessOf(naive.ear) },
        unwanted: { spillway: spillway.unwantedMs > 0, naive: naive.unwantedMs > 0 },
      },
    ];
  }
}

function loudnessOf(base64: string): number {
  if (base64 === '') return 0;
  const samples = decodeMulaw(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)));
  const square = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return Math.min(1, Math.sqrt(square) / 32_768 / loudest);
}
