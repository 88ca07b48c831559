import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import { type Clock, systemClock, type Timer } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { Recogniser, RecogniserEvent } from '../recogniser.ts';
import { debianModel, debianPython, PocketsphinxProgram, type ProgramLine } from './pocketsphinx-program.ts';
import { UtteranceLedger } from './utterance-ledger.ts';

/** What may wait for the program, in bytes: over half a minute. A call stops sending audio far earlier. */
const maxHeldBytes = 1_048_576;
const maxGrammarBytes = 1_048_576;

/** How PocketSphinx is run. */
export interface PocketsphinxOptions {
  /**
   * What may be said, as JSGF with one public rule: far fewer errors than with all words of the language. At most 1 MiB.
   * Default: all words.
   */
  readonly grammar?: string;
  /** The Python that has the package. Default: `/usr/bin/python3`. */
  readonly python?: string;
  /** The folder of the model, with `en-us`, `en-us.lm.bin` and `cmudict-en-us.dict`. Default: Debian's. */
  readonly model?: string;
  /** How long it may take to load: 100 to 600,000 ms. Default: 30,000. */
  readonly startTimeoutMs?: number;
  /** How long the words of an utterance may take after its end: 100 to 600,000 ms. Default: 20,000. */
  readonly finalTimeoutMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

class Pocketsphinx implements Recogniser {
  readonly api = 'pocketsphinx';
  readonly input: AudioFormat = { encoding: 'pcm16', sampleRateHz: 16_000 };
  readonly #clock: Pick<Clock, 'after'>;
  readonly #startTimeoutMs: number;
  readonly #finalTimeoutMs: number;
  readonly #ledger: UtteranceLedger;
  readonly #program: PocketsphinxProgram;
  /** Of all audio that was sent. */
  #workedBytes = 0;
  #wait: Timer | undefined;

  constructor(options: PocketsphinxOptions) {
    const { clock = systemClock, finalTimeoutMs = 20_000, grammar = '', startTimeoutMs = 30_000 } = options;
    const grammarBytes = Buffer.from(grammar, 'utf8');
    if (grammarBytes.byteLength > maxGrammarBytes)
      throw invalid(`grammar: expected at most ${maxGrammarBytes} bytes, got ${grammarBytes.byteLength}.`);
    expectWhole('startTimeoutMs', startTimeoutMs, 100, 600_000);
    expectWhole('finalTimeoutMs', finalTimeoutMs, 100, 600_000);
    this.#clock = clock;
    this.#finalTimeoutMs = finalTimeoutMs;
    this.#ledger = new UtteranceLedger(this.input, (code, message) => this.#end(code, message));
    this.#program = new PocketsphinxProgram({
      python: options.python ?? debianPython,
      model: options.model ?? debianModel,
      onLine: (line) => this.#take(line),
      onEnd: (code, message) => this.#end(code, message),
      onDrain: () => this.#ledger.emit({ kind: 'drained' }),
    });
    this.#program.write('G', grammarBytes);
    this.#startTimeoutMs = startTimeoutMs;
  }

  get bufferedMs(): number {
    // The heads of the frames count as audio: what is told is never less than what waits.
    return Math.min(this.unconfirmedMs, msOfBytes(this.input, this.#program.heldBytes));
  }

  get unconfirmedMs(): number {
    return this.#ledger.isOver
      ? 0
      : msOfBytes(this.input, Math.max(0, this.#ledger.sentBytes - this.#workedBytes));
  }

  listen(listener: (event: RecogniserEvent) => void): void {
    this.#ledger.listen(listener);
    if (this.#ledger.isOver) return;
    this.#program.read();
    this.#waitFor(this.#startTimeoutMs, 'load');
  }

  send(audio: Uint8Array): void {
    if (this.#ledger.take(audio) === undefined) return;
    this.#program.write('A', audio);
    if (this.#program.heldBytes > maxHeldBytes)
      this.#end('late', `It has not taken ${this.#program.heldBytes} bytes; the limit is ${maxHeldBytes}.`);
  }

  finish(): void {
    if (this.#ledger.finish() === undefined) return;
    this.#program.write('F');
    this.#waitForFinal();
  }

  close(): void {
    this.#wait?.stop();
    this.#ledger.close();
    this.#program.kill();
  }

  #take(line: ProgramLine): void {
    const utterance = this.#ledger.oldestUnsettled;
    if (line.kind === 'ready') {
      this.#wait?.stop();
      this.#wait = undefined;
      this.#ledger.ready();
    } else if (line.kind === 'refused') this.#end('refused', 'It does not take the grammar.');
    else if (line.kind === 'worked') {
      this.#workedBytes = Math.min(this.#ledger.sentBytes, Math.max(this.#workedBytes, line.bytes));
      this.#ledger.emit({ kind: 'drained' });
    } else if (line.kind === 'partial') {
      if (utterance !== undefined) this.#ledger.partial(utterance, line.text);
    } else if (line.kind === 'final') {
      if (utterance?.isFinished !== true) {
        this.#end('bad_message', 'It made the words of an utterance that is not over.');
        return;
      }
      this.#wait?.stop();
      this.#wait = undefined;
      const words = line.words.map(([text, fromMs, toMs]) =>
        this.#ledger.placed(utterance, text, fromMs, toMs),
      );
      this.#ledger.settle(utterance, { text: line.text, words });
      if (this.#ledger.oldestUnsettled?.isFinished) this.#waitForFinal();
    }
  }

  #waitForFinal(): void {
    if (this.#wait === undefined) this.#waitFor(this.#finalTimeoutMs, 'make the words of an utterance');
  }

  #waitFor(ms: number, what: string): void {
    this.#wait = this.#clock.after(ms, () => this.#end('late', `It did not ${what} within ${ms} ms.`));
  }

  #end(code: string, message: string): void {
    this.#wait?.stop();
    this.#program.kill();
    this.#ledger.end(code, message);
  }
}

/**
 * Understands English without a network and without an account, by PocketSphinx: `apt-get install pocketsphinx-en-us
 * python3-pocketsphinx` on Debian. It is a process of its own, a small Python program of this package: 110 MB, and a fifth of a
 * core for one who speaks; with a grammar of some sentences 40 MB, and a hundredth. With a grammar it is good enough for a trial of
 * a line; with all words of the language it is not good enough for customers.
 *
 * `unconfirmedMs` is exact: what the program has not worked on, in steps of 100 ms. It works on the audio as it comes, and tells words
 * so far as `partial`, at most every 200 ms of audio.
 *
 * `ended` has one of these codes: `unreachable` (Python or a package is not there; the message names them), `refused` (the grammar),
 * `late` (it did not load, or make words, in time, or has not taken 1 MiB of audio), `lost` (the process ended) and
 * `bad_message`. The process is killed at the end and at `close`.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const grammar = '#JSGF V1.0; grammar answers; public <answers> = yes | no | call me back;';
 * const recogniser = openPocketsphinx({ grammar });
 * recogniser.listen((event) => {
 *   if (event.kind === 'final') console.log(event.words.length);
 * });
 * ```
 */
export function openPocketsphinx(options: PocketsphinxOptions = {}): Recogniser {
  return new Pocketsphinx(options);
}
