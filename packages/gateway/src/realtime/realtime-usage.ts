import type { TokenUsage } from '@spillway/core/format/format';
import { OverheardAnswer } from './overheard-answer.ts';

/** The events with usage are looked for here: the API writes their type first. */
const headBytes = 256;
/** An answer with its transcript and its arguments. A larger one is not read. */
const maxAnswerBytes = 1_048_576;

/** The events with usage: of an answer, and of the words of a human, which another model writes down. */
const types = ['response.done', 'conversation.item.input_audio_transcription.completed'] as const;

interface Usage {
  readonly input_tokens?: unknown;
  readonly output_tokens?: unknown;
}

/** Adds up the tokens that a conversation's provider reports. Of all messages only those with usage are parsed. */
export class RealtimeUsage {
  #inputTokens: number | undefined;
  #outputTokens: number | undefined;
  readonly #underWay = new OverheardAnswer();

  /** What the provider has reported so far; `undefined`: nothing. */
  get total(): TokenUsage | undefined {
    const [inputTokens, outputTokens] = [this.#inputTokens, this.#outputTokens];
    if (inputTokens === undefined && outputTokens === undefined) return undefined;
    return { inputTokens, outputTokens };
  }

  /** An estimate of the answer that is under way, which the provider has not reported; `undefined`: there is none. */
  get unreported(): TokenUsage | undefined {
    return this.#underWay.usage;
  }

  /** Looks at a message of the client. */
  asked(bytes: Buffer): void {
    this.#underWay.fromClient(bytes);
  }

  /** Looks at a message of the provider. Returns whether it has usage. */
  take(bytes: Buffer): boolean {
    const head = bytes.subarray(0, headBytes);
    const type = types.find((one) => head.includes(`"${one}"`));
    if (type === undefined) {
      this.#underWay.fromProvider(bytes);
      return false;
    }
    const { input_tokens: input, output_tokens: output } =
      bytes.length > maxAnswerBytes ? {} : usageOf(bytes, type);
    if (type === 'response.done')
      this.#underWay.ended({
        inputTokens: isCount(input) ? input : undefined,
        outputTokens: isCount(output) ? output : undefined,
      });
    if (isCount(input)) this.#inputTokens = (this.#inputTokens ?? 0) + input;
    if (isCount(output)) this.#outputTokens = (this.#outputTokens ?? 0) + output;
    return isCount(input) || isCount(output);
  }
}

function usageOf(bytes: Buffer, type: (typeof types)[number]): Usage {
  try {
    const event = JSON.parse(bytes.toString('utf8')) as {
      readonly type?: unknown;
      readonly response?: { readonly usage?: Usage | null } | null;
      readonly usage?: Usage | null;
    } | null;
    if (event?.type !== type) return {};
    return (type === 'response.done' ? event.response?.usage : event.usage) ?? {};
  } catch {
    return {};
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
