import type { TokenUsage } from '@spillway/core/format/format';
import { tokenCountOf } from '@spillway/core/format/json-object';
import { sumOf } from '../limit/conversation-lease.ts';
import { OverheardAnswer } from './overheard-answer.ts';

/** An answer with its transcript and its arguments. A larger one is not read. */
const maxAnswerBytes = 1_048_576;

/** The events with usage: of an answer, and of the words of a human, which another model writes down. */
const types = new Set(['response.done', 'conversation.item.input_audio_transcription.completed']);

interface Usage {
  readonly input_tokens?: unknown;
  readonly output_tokens?: unknown;
}

/** Adds up the tokens that a conversation's provider reports. Of all messages only those with usage are parsed. */
export class RealtimeUsage {
  #inputTokens: number | undefined;
  #outputTokens: number | undefined;
  readonly #unreported = new OverheardAnswer();

  /** What the provider has reported so far; `undefined`: nothing. */
  get total(): TokenUsage | undefined {
    const [inputTokens, outputTokens] = [this.#inputTokens, this.#outputTokens];
    if (inputTokens === undefined && outputTokens === undefined) return undefined;
    return { inputTokens, outputTokens };
  }

  /** {@link total}, and an estimate of answers that have ended without a report. */
  get spent(): TokenUsage | undefined {
    return sumOf(this.total, this.#unreported.lost);
  }

  /** An estimate of the answers that were not reported; `undefined`: there are none. */
  get unreported(): TokenUsage | undefined {
    return this.#unreported.usage;
  }

  /** Looks at a message of the client. `type`: of the event. */
  asked(bytes: Buffer, type: string | undefined): void {
    this.#unreported.fromClient(bytes, type);
  }

  /** Looks at a message of the provider. `type`: of the event. Returns whether more was spent. */
  take(bytes: Buffer, type: string): boolean {
    if (!types.has(type)) {
      this.#unreported.fromProvider(bytes, type);
      return false;
    }
    const { status, transcript, usage } = bytes.length > maxAnswerBytes ? {} : reportOf(bytes, type);
    const { input_tokens: input, output_tokens: output } = usage ?? {};
    const [inputTokens, outputTokens] = [tokenCountOf(input), tokenCountOf(output)];
    const isAnswer = type === 'response.done';
    // Some models that write down words report seconds.
    const isInTokens = input !== undefined || output !== undefined;
    if (isAnswer) this.#unreported.ended({ inputTokens, outputTokens }, status === 'failed');
    else if (isInTokens)
      this.#unreported.wrote({ inputTokens, outputTokens }, typeof transcript === 'string' ? transcript : '');
    if (inputTokens !== undefined) this.#inputTokens = (this.#inputTokens ?? 0) + inputTokens;
    if (outputTokens !== undefined) this.#outputTokens = (this.#outputTokens ?? 0) + outputTokens;
    return isAnswer || isInTokens;
  }
}

interface Report {
  readonly status?: unknown;
  /** Of a human's words. */
  readonly transcript?: unknown;
  readonly usage?: Usage | null;
}

function reportOf(bytes: Buffer, type: string): Report {
  try {
    const event = JSON.parse(bytes.toString('utf8')) as Report & { readonly response?: Report | null };
    return (type === 'response.done' ? event.response : event) ?? {};
  } catch {
    return {};
  }
}
