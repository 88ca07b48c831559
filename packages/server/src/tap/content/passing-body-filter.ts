import type { EventRun } from '@spillway/core/format/sse';
import type { ContentFilter, KeptContent } from './kept-content.ts';
import type { RedactionRule } from './redaction-rule.ts';
import { createRedactor, type Redactor } from './redactor.ts';

/**
 * Keeps a body that is no stream of events, redacted as it comes: readers wait for what is kept, and cannot wait for its
 * end. It holds back what may be the beginning of a match, and no more.
 */
export class PassingBodyFilter implements ContentFilter {
  isShedding = false;
  readonly readsWhole = false;
  readonly #rules: readonly RedactionRule[];
  readonly #maxBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #redactor: Redactor | undefined;
  #bytes = 0;
  #run = -1;
  #since: number | undefined;
  /** Whether what follows is only counted: it is too much, or no text. */
  #isSpent = false;

  /** `maxBytes`: of the body. Of what follows, only the size is kept. */
  constructor(rules: readonly RedactionRule[], maxBytes: number) {
    this.#rules = rules;
    this.#maxBytes = maxBytes;
  }

  get heldSince(): number | undefined {
    return this.#since;
  }

  take({ bytes }: EventRun): KeptContent {
    this.#run += 1;
    this.#bytes += bytes.length;
    const text = this.#isSpent || this.#bytes > this.#maxBytes ? undefined : this.#decoded(bytes);
    if (text === undefined) return this.#spend(bytes.length);
    // Outside of its strings, JSON has numbers: they stay numbers.
    this.#redactor ??= text === '' ? undefined : createRedactor(this.#rules, /^\s*[[{]/.test(text));
    const kept = this.#written((redactor) => redactor.push(text));
    const heldLength = this.#redactor?.heldLength ?? 0;
    if (heldLength === 0) this.#since = undefined;
    else if (heldLength <= text.length || this.#since === undefined) this.#since = this.#run;
    return kept;
  }

  flush(): KeptContent {
    this.#since = undefined;
    return this.#written((redactor) => redactor.flush());
  }

  /** Keeps nothing of these bytes or later ones, nor what was held back: it may be the beginning of a match. */
  #spend(bytes: number): KeptContent {
    const held = this.flush();
    this.#isSpent = true;
    this.#redactor = undefined;
    return { ...nothing, omittedBytes: bytes + held.bytes.length };
  }

  #written(write: (redactor: Redactor) => string): KeptContent {
    const redactor = this.#redactor;
    if (redactor === undefined) return nothing;
    const before = redactor.count;
    const bytes = encoder.encode(write(redactor));
    return { ...nothing, bytes, redacted: redactor.count - before };
  }

  /** `undefined`: the bytes are no text. The part of a character at their end is decoded with the next ones. */
  #decoded(bytes: Uint8Array): string | undefined {
    try {
      return this.#decoder.decode(bytes, { stream: true });
    } catch {
      return undefined;
    }
  }
}

const nothing: KeptContent = { bytes: new Uint8Array(0), events: 0, redacted: 0, shed: [] };
const encoder = new TextEncoder();
