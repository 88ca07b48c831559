import type { TokenUsage } from '@spillway/core/format/format';

/** The events with usage are looked for here: the API writes their type first. */
const headBytes = 256;
/** An answer with its transcript and its arguments. A larger one is not read. */
const maxAnswerBytes = 1_048_576;

/** Adds up the tokens of a conversation's answers. Of all messages only `response.done` is parsed. */
export class RealtimeUsage {
  #inputTokens: number | undefined;
  #outputTokens: number | undefined;

  /** What the provider has reported so far; `undefined`: nothing. */
  get total(): TokenUsage | undefined {
    const [inputTokens, outputTokens] = [this.#inputTokens, this.#outputTokens];
    if (inputTokens === undefined && outputTokens === undefined) return undefined;
    return { inputTokens, outputTokens };
  }

  /** Looks at a message of the provider. Returns whether it has usage. */
  take(bytes: Buffer): boolean {
    if (bytes.length > maxAnswerBytes || !bytes.subarray(0, headBytes).includes('"response.done"'))
      return false;
    const { input_tokens: input, output_tokens: output } = usageOf(bytes);
    if (isCount(input)) this.#inputTokens = (this.#inputTokens ?? 0) + input;
    if (isCount(output)) this.#outputTokens = (this.#outputTokens ?? 0) + output;
    return isCount(input) || isCount(output);
  }
}

function usageOf(bytes: Buffer): { readonly input_tokens?: unknown; readonly output_tokens?: unknown } {
  try {
    const event = JSON.parse(bytes.toString('utf8')) as {
      readonly type?: unknown;
      readonly response?: { readonly usage?: object | null } | null;
    } | null;
    return event?.type === 'response.done' ? (event.response?.usage ?? {}) : {};
  } catch {
    return {};
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
