import { type AudioFormat, bytesOfMs, bytesPerSample, msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { type Clock, systemClock, type Timer } from '@spillway/core/clock';
import { ModelSocket } from '../../model/model-socket.ts';
import type { HeardWord, Recogniser, RecogniserEvent } from '../recogniser.ts';
import { type DeepgramResults, readDeepgramMessage } from './deepgram-messages.ts';
import { checkDeepgramOptions, type DeepgramListenOptions } from './deepgram-options.ts';
import { type Utterance, UtteranceLedger } from './utterance-ledger.ts';

/** The API closes a connection that is silent for 10 s, and asks for a sign every 3 to 5. */
const signEveryMs = 4000;
/** Audio at an utterance's end that the API may leave without an answer: it says that it does not always give one for a little. */
const littleMs = 300;
/** How long the answer for a little audio is waited for. */
const littleTimeoutMs = 1000;
/** Audio that a socket may hold and still be told as drained. */
const drainedMs = 100;
/** Times come in decimals of a second. */
const roundingMs = 5;

/** What was heard of the oldest utterance that has no final. */
interface Heard {
  readonly utterance: Utterance;
  readonly texts: string[];
  readonly words: HeardWord[];
  /** What may still change. */
  interim: string;
  /** All audio up to here is in `texts`, in bytes of all audio. */
  finalBytes: number;
}

class DeepgramListen implements Recogniser {
  readonly api = 'deepgram';
  readonly input: AudioFormat;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #finalTimeoutMs: number;
  readonly #ledger: UtteranceLedger;
  readonly #socket: ModelSocket;
  #unsentBytes = 0;
  /** What results have been about, from the beginning of all audio. */
  #coveredBytes = 0;
  #isFull = false;
  #heard: Heard | undefined;
  #signs: Timer | undefined;
  #wait: Timer | undefined;

  constructor(options: DeepgramListenOptions) {
    const url = checkDeepgramOptions(options);
    const { apiKey, clock = systemClock, finalTimeoutMs = 8000, format = telephoneAudio } = options;
    this.input = format;
    this.#clock = clock;
    this.#finalTimeoutMs = finalTimeoutMs;
    this.#ledger = new UtteranceLedger(format, (code, message) => this.#socket.fail(code, message));
    this.#socket = new ModelSocket({
      url,
      headers: apiKey === undefined ? {} : { authorization: `Token ${apiKey}` },
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      keepAliveMs: options.keepAliveMs ?? 10_000,
      maxMessageBytes: options.maxMessageBytes ?? 262_144,
      clock,
      onOpen: () => {
        this.#giveSigns();
        this.#ledger.ready();
      },
      onText: (text) => this.#read(text),
      endOf: (closeCode, reason) => ({
        code: reason.startsWith('DATA-') ? 'refused' : 'lost',
        message: `It closed the connection with code ${closeCode}${/^[A-Z]+-\d{4}/.test(reason) ? ` (${reason.slice(0, 9)})` : ''}.`,
      }),
      onEnd: (code, message) => {
        this.#stopTimers();
        // A socket that takes nothing more is a stage that is late.
        this.#ledger.end(code === 'overflow' ? 'late' : code, message);
      },
    });
  }

  get bufferedMs(): number {
    // What was sent in this turn is told as sent in a later one, also where the operating system has it by now.
    const { isEmpty, isOver } = this.#socket;
    return isEmpty || isOver ? 0 : msOfBytes(this.input, this.#unsentBytes);
  }

  get unconfirmedMs(): number {
    if (this.#socket.isOver) return 0;
    // Whatever results say that they are about: what is in the socket was not worked on.
    return Math.max(
      this.bufferedMs,
      msOfBytes(this.input, Math.max(0, this.#ledger.sentBytes - this.#coveredBytes)),
    );
  }

  listen(listener: (event: RecogniserEvent) => void): void {
    this.#ledger.listen(listener);
    this.#socket.read();
  }

  send(audio: Uint8Array): void {
    if (this.#ledger.take(audio) === undefined) return;
    const bytes = audio.byteLength;
    this.#unsentBytes += bytes;
    this.#socket.write(audio, () => {
      this.#unsentBytes -= bytes;
      if (!this.#isFull || this.bufferedMs > drainedMs) return;
      this.#isFull = false;
      this.#ledger.emit({ kind: 'drained' });
    });
    if (this.bufferedMs > drainedMs) this.#isFull = true;
  }

  finish(): void {
    const utterance = this.#ledger.finish();
    if (utterance === undefined) return;
    this.#socket.write('{"type":"Finalize"}');
    if (utterance === this.#ledger.oldest) this.#look();
  }

  close(): void {
    this.#stopTimers();
    this.#ledger.close();
    this.#socket.write('{"type":"CloseStream"}');
    this.#socket.close();
  }

  #read(text: string): void {
    const message = readDeepgramMessage(text);
    if (message === 'ignored') return;
    if ('wrong' in message) this.#socket.refuse(`what is not understood: ${message.wrong}`);
    else if (message.type === 'Complaint')
      this.#ledger.emit({ kind: 'warned', code: message.code, message: 'It complained.' });
    else this.#take(message);
  }

  /** The API works on the audio in order, and knows nothing of utterances: results are placed by the middle of their audio. */
  #take(results: DeepgramResults): void {
    const { duration, start } = results;
    const endBytes = Math.min(this.#bytesAt(start + duration), this.#ledger.sentBytes);
    const middle = this.#bytesAt(start + duration / 2);
    if (endBytes > this.#coveredBytes) {
      this.#coveredBytes = endBytes;
      this.#ledger.emit({ kind: 'drained' });
    }
    let heard = this.#current();
    // Something of a later utterance came: there will be nothing more of this one.
    while (heard?.utterance.isFinished && middle > endOf(heard.utterance)) {
      this.#settle(heard);
      heard = this.#current();
    }
    if (heard === undefined) return;
    // Otherwise it is a late answer about an utterance that is done.
    const { fromBytes } = heard.utterance;
    if (middle >= fromBytes && endBytes > fromBytes + bytesOfMs(this.input, roundingMs))
      this.#hear(heard, results, endBytes);
  }

  #hear(heard: Heard, results: DeepgramResults, endBytes: number): void {
    const { utterance } = heard;
    const [best] = results.channel.alternatives;
    if (best === undefined) return;
    if (results.is_final) {
      if (best.transcript !== '') heard.texts.push(best.transcript);
      heard.interim = '';
      heard.finalBytes = Math.max(heard.finalBytes, endBytes);
      const fromMs = msOfBytes(this.input, utterance.fromBytes);
      for (const { end, punctuated_word: written, start, word } of best.words)
        heard.words.push(
          this.#ledger.placed(utterance, written ?? word, start * 1000 - fromMs, end * 1000 - fromMs),
        );
    } else heard.interim = best.transcript;
    if (results.from_finalize && utterance.isFinished) {
      this.#settle(heard);
      return;
    }
    this.#ledger.partial(utterance, textOf(heard), heard.words.length);
    this.#look();
  }

  /** Whether the oldest utterance is done; otherwise how long it may take. */
  #look(): void {
    this.#wait?.stop();
    const heard = this.#current();
    if (heard === undefined || !heard.utterance.isFinished) return;
    const openMs = msOfBytes(this.input, endOf(heard.utterance) - heard.finalBytes);
    if (openMs <= roundingMs) {
      this.#settle(heard);
      return;
    }
    const isLittle = openMs <= littleMs;
    const timeoutMs = isLittle ? Math.min(littleTimeoutMs, this.#finalTimeoutMs) : this.#finalTimeoutMs;
    this.#wait = this.#clock.after(timeoutMs, () => this.#settle(heard, isLittle ? undefined : timeoutMs));
  }

  #settle(heard: Heard, lateMs?: number): void {
    const { utterance, words } = heard;
    this.#wait?.stop();
    this.#heard = undefined;
    this.#coveredBytes = Math.max(this.#coveredBytes, endOf(utterance));
    const warning = { code: 'late', message: `It did not answer for ${lateMs} ms after an utterance.` };
    this.#ledger.settle(utterance, {
      text: textOf(heard),
      words,
      ...(lateMs === undefined ? {} : { warning }),
    });
    this.#look();
  }

  /** What was heard of the oldest utterance that waits for words. */
  #current(): Heard | undefined {
    const utterance = this.#ledger.oldestUnsettled;
    if (utterance === undefined) this.#heard = undefined;
    else if (this.#heard?.utterance !== utterance)
      this.#heard = { utterance, texts: [], words: [], interim: '', finalBytes: utterance.fromBytes };
    return this.#heard;
  }

  #giveSigns(): void {
    this.#signs = this.#clock.after(signEveryMs, () => {
      this.#socket.write('{"type":"KeepAlive"}');
      this.#giveSigns();
    });
  }

  #bytesAt(seconds: number): number {
    return Math.round(seconds * this.input.sampleRateHz) * bytesPerSample(this.input);
  }

  #stopTimers(): void {
    this.#signs?.stop();
    this.#wait?.stop();
  }
}

function endOf({ bytes, fromBytes }: Utterance): number {
  return fromBytes + bytes;
}

function textOf({ interim, texts }: Heard): string {
  return [...texts, interim].filter((text) => text !== '').join(' ');
}

/**
 * Connects to Deepgram's live API, or to one that speaks as it does. It works while a human speaks: words come as `partial`, and
 * those of the whole utterance after `Finalize`, with the place of each. The connection stays, with a sign every 4 s.
 *
 * - `unconfirmedMs` is the audio that no result has been about: the API gives results about silence, too. It is around a second while
 *   somebody speaks, because that is how often results come.
 * - An utterance is done when its `Finalize` was answered, when final results are about all of it, or when results come
 *   that are about a later one. The API does not always answer where little audio was left: 300 ms and less are waited for 1 s.
 *   More is waited for `finalTimeoutMs`.
 *
 * `ended` has one of these codes: `unreachable` (no connection came about), `unauthorized` (the key), `rate_limited`, `refused`
 * (the connection, the model, the settings or the audio), `lost` (it closed the connection, or gave no sign), `late` (its socket
 * holds more than 1 MiB) and `bad_message` (binary, no JSON, a known message in another shape, too large). No message has the key.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const recogniser = openDeepgramListen({ apiKey, language: 'en-US' });
 * recogniser.listen((event) => {
 *   if (event.kind === 'final') console.log(event.words.length);
 * });
 * ```
 */
export function openDeepgramListen(options: DeepgramListenOptions = {}): Recogniser {
  return new DeepgramListen(options);
}
