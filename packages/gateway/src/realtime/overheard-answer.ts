import type { TokenUsage } from '@spillway/core/format/format';
import { promptTokens, textTokens } from '../limit/token-estimate.ts';
import { heardTokens, saidTokens, UnreportedAnswer } from '../limit/unreported-answer.ts';

/** What an event of the provider has beside its text: names and ids. */
const freeBytes = 250;
/** A larger request for an answer is not read. */
const maxAskedBytes = 1_048_576;
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

  /** {@link UnreportedAnswer.lost} */
  get lost(): TokenUsage | undefined {
    return this.#answer.lost;
  }

  /** {@link UnreportedAnswer.usage} */
  get usage(): TokenUsage | undefined {
    return this.#answer.usage;
  }

  /** Looks at a message of the client. `type`: of the event. What cannot be told may be anything. */
  fromClient(bytes: Buffer, type: string | undefined): void {
    if (type === 'input_audio_buffer.append') this.#heardMs += this.#msOf(bytes);
    else this.#answer.joined(promptTokens([bytes]));
    if (type === 'response.create' || type === undefined) this.#answer.asked(hasOwnPrompt(bytes));
  }

  /** Looks at a message of the provider, but for those that end an answer. */
  fromProvider(bytes: Buffer, type: string): void {
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
        // Not all that speak this API say that one begins.
        if (!this.#answer.isMaking) this.#answer.began();
        this.#answer.said(
          type.endsWith('audio.delta')
            ? saidTokens(this.#msOf(bytes))
            : Math.max(1, textTokens(bytes.length - freeBytes)),
        );
    }
  }

  /** {@link UnreportedAnswer.ended} */
  ended(reported: TokenUsage | undefined, hasFailed: boolean): void {
    this.#answer.ended(reported, hasFailed);
  }

  #msOf({ length }: Buffer): number {
    return (length * 1000) / this.#soundBytesPerSecond;
  }
}

/** Whether an answer that is asked for is not made of the conversation: it has an input of its own, or stays outside. */
function hasOwnPrompt(bytes: Buffer): boolean {
  if (bytes.length > maxAskedBytes) return true;
  try {
    const { response } = JSON.parse(bytes.toString('utf8')) as { readonly response?: object | null };
    return response !== undefined && response !== null && ('input' in response || 'conversation' in response);
  } catch {
    return true;
  }
}
