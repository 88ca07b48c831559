/** The most calls of tools whose signatures are kept, and the longest signature, in characters. */
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

  /** Keeps what one answer has signed of its calls. */
  keep(callIds: readonly string[], signed: ReadonlyMap<string, string>): void {
    if (signed.size === 0) return;
    for (const callId of callIds) {
      const signature = signed.get(callId) ?? noSignature;
      this.#kept.set(callId, signature.length > maxLength ? noSignature : signature);
    }
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= maxKept) return;
      this.#kept.delete(oldest);
    }
  }

  /** The signature to send with a call. `isFirst`: of a turn's calls, which is the one that has to have one. */
  of(callId: string, isFirst: boolean): string | undefined {
    const signature = this.#kept.get(callId);
    return signature === noSignature && !isFirst ? undefined : signature;
  }
}
