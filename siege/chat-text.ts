/** Finds the text of a chat completion in its event stream, wherever that is cut. */
export class ChatText {
  readonly #decoder = new TextDecoder();
  readonly #onText: (text: string) => void;
  #rest = '';
  #hasEnded = false;

  constructor(onText: (text: string) => void) {
    this.#onText = onText;
  }

  /** @throws if the stream carries an error. */
  push(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === 'data: [DONE]') this.#hasEnded = true;
      if (!line.startsWith('data: {')) continue;
      const { choices, error } = JSON.parse(line.slice(6)) as {
        readonly choices?: readonly { readonly delta: { readonly content?: string | null } }[];
        readonly error?: { readonly message: string };
      };
      if (error !== undefined) throw new Error(error.message);
      const text = choices?.[0]?.delta.content ?? '';
      if (text !== '') this.#onText(text);
    }
  }

  /** @throws if the end marker did not come. */
  end(): void {
    if (!this.#hasEnded) throw new Error('the stream ended without its end marker');
  }
}
