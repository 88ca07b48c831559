/** The most signatures that are kept, and the longest one, in characters. */
const maxKept = 256;
const maxLength = 65_536;

/** What the API takes in place of a signature that is lost (https://ai.google.dev/gemini-api/docs/thought-signatures). */
const noSignature = 'skip_thought_signature_validator';

/**
 * What a model has thought before it asked for a tool, sealed by the API. Newer models of Gemini refuse a conversation whose calls
 * come without. Of calls that are made at once only the first one has a signature. A model that signs nothing is sent nothing.
 */
export class ThoughtSignatures {
  /** By the ids of calls, the oldest first: at most `maxKept` always. */
  readonly #kept = new Map<string, string>();
  #isSigning = false;

  keep(callId: string, signature: string): void {
    this.#isSigning = true;
    if (signature.length > maxLength) return;
    this.#kept.set(callId, signature);
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size > maxKept) this.#kept.delete(oldest);
  }

  /** The signature to send with a call. `isFirst`: of a turn's calls, which is the one that has to have one. */
  of(callId: string, isFirst: boolean): string | undefined {
    return this.#kept.get(callId) ?? (this.#isSigning && isFirst ? noSignature : undefined);
  }
}
