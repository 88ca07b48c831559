import type { TokenUsage } from '@spillway/core/format/format';
import { promptTokens, textTokens } from '../limit/token-estimate.ts';

/** Where the type of an event is looked for: the API writes it first, and some clients write it last. */
const endBytes = 256;
const typePattern = /"type"\s*:\s*"([\w.]+)"/;
/** What an event of the provider has beside its text: names and ids. */
const freeBytes = 250;
/** The tokens of a second of sound, by OpenAI: of what a human says, and of what the model says. */
const heardPerSecond = 10;
const saidPerSecond = 20;
/** Bytes of Base64 in a second of sound: PCM of 24 kHz, and the G.711 of telephones. */
const pcmBytesPerSecond = 64_000;
const g711BytesPerSecond = 10_667;
const g711Names = ['g711_', 'audio/pcma', 'audio/pcmu'];

/**
 * The answer of a realtime model that is under way, in tokens: an estimate, for a conversation that ends before its provider
 * has reported it. Its prompt is the whole conversation until then: what the last answer had in all, and what came since.
 * Several answers at once have a prompt each.
 */
export class UnreportedAnswer {
  #contextTokens = 0;
  #outputTokens = 0;
  /** The sound that a human may be saying. It becomes a part of the conversation when it is over. */
  #heardTokens = 0;
  /** Answers that have begun and not ended. */
  #count = 0;
  /** Whether the client has asked for one that has not begun. */
  #isAsked = false;
  #soundBytesPerSecond = pcmBytesPerSecond;

  /** What is to be paid for it; `undefined`: nothing is under way. */
  get usage(): TokenUsage | undefined {
    const answers = this.#count + (this.#isAsked ? 1 : 0);
    if (answers === 0) return undefined;
    return { inputTokens: this.#contextTokens * answers, outputTokens: this.#outputTokens };
  }

  /** Looks at a message of the client. */
  fromClient(bytes: Buffer): void {
    const ends = [bytes.subarray(0, endBytes), bytes.subarray(Math.max(0, bytes.length - endBytes))];
    const has = (type: string): boolean => ends.some((end) => end.includes(`"${type}"`));
    if (has('input_audio_buffer.append')) this.#heardTokens += this.#soundTokens(bytes, heardPerSecond);
    else this.#contextTokens += promptTokens([bytes]);
    if (has('response.create')) this.#isAsked = true;
  }

  /** Looks at a message of the provider, but for those that end an answer. */
  fromProvider(bytes: Buffer): void {
    const [, type = ''] = typePattern.exec(bytes.toString('latin1', 0, endBytes)) ?? [];
    switch (type) {
      case 'response.created':
        this.#count += 1;
        this.#isAsked = false;
        return;
      case 'error':
        this.#isAsked = false;
        return;
      case 'input_audio_buffer.committed':
        this.#contextTokens += this.#heardTokens;
        this.#heardTokens = 0;
        return;
      case 'input_audio_buffer.cleared':
      case 'input_audio_buffer.speech_started':
        // What came before was silence.
        this.#heardTokens = 0;
        return;
      case 'session.created':
      case 'session.updated':
        this.#soundBytesPerSecond = g711Names.some((name) => bytes.includes(name))
          ? g711BytesPerSecond
          : pcmBytesPerSecond;
        return;
      default:
        if (!type.startsWith('response.') || !type.endsWith('.delta')) return;
        this.#outputTokens += type.endsWith('audio.delta')
          ? this.#soundTokens(bytes, saidPerSecond)
          : Math.max(1, textTokens(bytes.length - freeBytes));
    }
  }

  /** The provider has ended an answer. `reported`: its tokens, which the next prompt has in it. */
  ended({ inputTokens, outputTokens }: TokenUsage): void {
    this.#count = Math.max(0, this.#count - 1);
    if (this.#count === 0) this.#outputTokens = 0;
    if (inputTokens !== undefined) this.#contextTokens = inputTokens + (outputTokens ?? 0);
  }

  #soundTokens({ length }: Buffer, tokensPerSecond: number): number {
    return Math.ceil((length * tokensPerSecond) / this.#soundBytesPerSecond);
  }
}
