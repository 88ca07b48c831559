import type { TokenUsage } from '@spillway/core/format/format';
import { promptTokens, textTokens } from '../limit/token-estimate.ts';
import { heardTokens, saidTokens, UnreportedAnswer } from '../limit/unreported-answer.ts';

/** Where the type of an event is looked for: the API writes it first, and some clients write it last. */
const endBytes = 256;
const typePattern = /"type"\s*:\s*"([\w.]+)"/;
/** What an event of the provider has beside its text: names and ids. */
const freeBytes = 250;
/** Bytes of Base64 in a second of sound: PCM of 24 kHz, and the G.711 of telephones. */
const pcmBytesPerSecond = 64_000;
const g711BytesPerSecond = 10_667;
const g711Names = ['g711_', 'audio/pcma', 'audio/pcmu'];

/** Finds the answer of a realtime model that is under way in the messages of its conversation. */
export class OverheardAnswer {
  readonly #answer = new UnreportedAnswer();
  /** The sound that a human may be saying. It becomes a part of the conversation when it is over. */
  #heardMs = 0;
  #soundBytesPerSecond = pcmBytesPerSecond;

  /** {@link UnreportedAnswer.usage} */
  get usage(): TokenUsage | undefined {
    return this.#answer.usage;
  }

  /** Looks at a message of the client. */
  fromClient(bytes: Buffer): void {
    const ends = [bytes.subarray(0, endBytes), bytes.subarray(Math.max(0, bytes.length - endBytes))];
    const has = (type: string): boolean => ends.some((end) => end.includes(`"${type}"`));
    if (has('input_audio_buffer.append')) this.#heardMs += this.#msOf(bytes);
    else this.#answer.joined(promptTokens([bytes]));
    if (has('response.create')) this.#answer.asked();
  }

  /** Looks at a message of the provider, but for those that end an answer. */
  fromProvider(bytes: Buffer): void {
    const [, type = ''] = typePattern.exec(bytes.toString('latin1', 0, endBytes)) ?? [];
    switch (type) {
      case 'response.created':
        return this.#answer.began();
      case 'error':
        return this.#answer.refused();
      case 'input_audio_buffer.committed':
        this.#answer.joined(heardTokens(this.#heardMs));
        this.#heardMs = 0;
        return;
      case 'input_audio_buffer.cleared':
      case 'input_audio_buffer.speech_started':
        // What came before was silence.
        this.#heardMs = 0;
        return;
      case 'session.created':
      case 'session.updated':
        this.#soundBytesPerSecond = g711Names.some((name) => bytes.includes(name))
          ? g711BytesPerSecond
          : pcmBytesPerSecond;
        return;
      default:
        if (!type.startsWith('response.') || !type.endsWith('.delta')) return;
        this.#answer.said(
          type.endsWith('audio.delta')
            ? saidTokens(this.#msOf(bytes))
            : Math.max(1, textTokens(bytes.length - freeBytes)),
        );
    }
  }

  /** The provider has ended an answer. `reported`: its tokens. */
  ended(reported: TokenUsage): void {
    this.#answer.ended(reported);
  }

  #msOf({ length }: Buffer): number {
    return (length * 1000) / this.#soundBytesPerSecond;
  }
}
