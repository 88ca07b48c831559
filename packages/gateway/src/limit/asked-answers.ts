/** Beyond so many, those that are asked for are counted, and no refusal names one of them. */
const maxNames = 64;

/** The answers of a conversation that were asked for and have not begun, in their order. Each is paid, if it is not refused. */
export class AskedAnswers {
  #names: (string | undefined)[] = [];
  #beyond = 0;

  get count(): number {
    return this.#names.length + this.#beyond;
  }

  /** `name`: by which a refusal may name it. */
  add(name: string | undefined): void {
    if (this.#beyond > 0 || this.#names.length >= maxNames) this.#beyond += 1;
    else this.#names.push(name);
  }

  /** One has begun: which, nobody says, so it is the first. */
  began(): void {
    if (this.#names.length > 0) this.#names.shift();
    else if (this.#beyond > 0) this.#beyond -= 1;
  }

  /** The one with that name, or one that has none, does not come. `any`: another one, if that is not there. */
  refused(name: string | undefined, any: boolean): void {
    const at = this.#names.indexOf(name);
    if (at >= 0) this.#names.splice(at, 1);
    else if (any) this.began();
  }

  /** No refusal may give the one with that name back any more. */
  unnamed(name: string): void {
    const at = this.#names.indexOf(name);
    if (at >= 0) this.#names[at] = '';
  }

  clear(): void {
    this.#names = [];
    this.#beyond = 0;
  }
}
