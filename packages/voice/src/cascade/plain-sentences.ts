import type { Sentences } from './spoken-answer.ts';

/** Stand-in. */
export class PlainSentences implements Sentences {
  #text = '';

  get waiting(): number {
    return this.#text.length;
  }

  push(text: string): readonly string[] {
    this.#text += text;
    const found: string[] = [];
    for (;;) {
      const end = /[.!?]\s/.exec(this.#text);
      if (end === null) return found;
      found.push(this.#text.slice(0, end.index + 1).trim());
      this.#text = this.#text.slice(end.index + 1).trimStart();
    }
  }

  flush(): readonly string[] {
    return this.end();
  }

  end(): readonly string[] {
    const text = this.#text.trim();
    this.#text = '';
    return text === '' ? [] : [text];
  }
}
