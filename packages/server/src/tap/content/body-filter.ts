import type { EventRun } from '@spillway/core/format/sse';
import { bodyTexts } from './body-texts.ts';
import type { ContentFilter, ContentOptions, KeptContent } from './kept-content.ts';
import { readJson } from './json-nodes.ts';
import { redactJson } from './redact-json.ts';
import type { RedactionRule } from './redaction-rule.ts';

/** Keeps a body that is no stream of events. It is read as a whole, at its end. */
export class BodyFilter implements ContentFilter {
  isShedding = false;
  readonly readsWhole = true;
  readonly #keepsText: boolean;
  readonly #rules: readonly RedactionRule[];
  readonly #maxHeldBytes: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #run = -1;
  #since: number | undefined;

  constructor({ content, maxHeldBytes, redact = [] }: ContentOptions) {
    this.#keepsText = content === 'text';
    this.#rules = redact;
    this.#maxHeldBytes = maxHeldBytes;
  }

  get heldSince(): number | undefined {
    return this.#since;
  }

  take({ bytes }: EventRun): KeptContent {
    this.#run += 1;
    this.#bytes += bytes.length;
    if (this.#bytes <= this.#maxHeldBytes) {
      // A copy: the bytes may be a part of memory that is used for several streams.
      this.#parts.push(Uint8Array.from(bytes));
      this.#since ??= this.#run;
    } else {
      this.#parts = [];
      this.#since = undefined;
    }
    return nothing;
  }

  flush(): KeptContent {
    const omitted = { ...nothing, omittedBytes: this.#bytes };
    const text = this.#bytes > this.#maxHeldBytes ? undefined : decoded(this.#parts);
    this.#parts = [];
    this.#since = undefined;
    if (text === undefined) return omitted;
    if (this.#keepsText) {
      const root = readJson(text);
      return root === undefined ? omitted : { ...nothing, ...bodyTexts(root, this.#rules) };
    }
    const { redacted, text: kept } = redactJson(text, this.#rules);
    return { ...nothing, bytes: encoder.encode(kept), redacted };
  }
}

/** `undefined`: the bytes are no text. */
function decoded(parts: readonly Uint8Array[]): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(parts));
  } catch {
    return undefined;
  }
}

const nothing: KeptContent = { bytes: new Uint8Array(0), events: 0, redacted: 0, shed: [] };
const encoder = new TextEncoder();
