const opening = '([{「『（【《〈';
const closing = ')]}」』）】》〉';
/** Quotation marks by family, because „…“, “…”, »…« and «…» use the same ones for both ends. */
const families = ['"', '„“”', '«»', '‹›', '‘'] as const;

/** Whether it may close a quote or bracket that is open. */
export function isCloser(char: string): boolean {
  return char !== '' && (closing.includes(char) || '"“”«»‹›’\''.includes(char));
}

/** Which quotes and brackets are open in a paragraph. It knows how many, and not where: what a text mixes up is forgiven. */
export class OpenQuotes {
  #depth = 0;
  /** One bit for each family. */
  #families = 0;

  get isAny(): boolean {
    return this.#depth > 0 || this.#families !== 0;
  }

  pass(char: string): void {
    if (opening.includes(char)) this.#depth += 1;
    else if (closing.includes(char)) this.#depth = Math.max(0, this.#depth - 1);
    else if (char === '\n') this.#depth = this.#families = 0;
    else if (char === '’') this.#families &= ~16;
    else {
      const family = families.findIndex((marks) => marks.includes(char));
      if (family < 0) return;
      if (char === '„' || char === '‘') this.#families |= 1 << family;
      else if (char === '”') this.#families &= ~(1 << family);
      else this.#families ^= 1 << family;
    }
  }

  copy(): OpenQuotes {
    const copy = new OpenQuotes();
    copy.#depth = this.#depth;
    copy.#families = this.#families;
    return copy;
  }
}
