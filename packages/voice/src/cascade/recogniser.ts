import type { AudioFormat } from '@spillway/core/audio';

/** A word that was heard, with its place in its utterance: milliseconds since the first sample that was sent of it. */
export interface HeardWord {
  readonly text: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** What comes of a recogniser. */
export type RecogniserEvent =
  /** It takes audio. */
  | { readonly kind: 'ready' }
  /** The words so far of the utterance that is open, in place of those of the last `partial`: the end of them may change. */
  | { readonly kind: 'partial'; readonly text: string }
  /** All words of an utterance: one for each `finish`, in their order. Empty: there were none. Without times, `words` is empty. */
  | { readonly kind: 'final'; readonly text: string; readonly words: readonly HeardWord[] }
  /** It takes more audio than before, or some that was sent is done. */
  | { readonly kind: 'drained' }
  /** It said that something was wrong, and goes on. */
  | { readonly kind: 'warned'; readonly code: string; readonly message: string }
  /** It does not go on; nothing follows. `code`: of a `StageError`, or the API's own. */
  | { readonly kind: 'ended'; readonly code: string; readonly message: string };

/**
 * Makes words of what one human says. It gets utterances alone, each a little earlier than it begins: who finds them is not its
 * business. One file for each API knows its messages.
 *
 * 1. Nothing comes before `listen`, and nothing after `ended` or `close`. What ended before `listen` is told then.
 * 2. `ready` comes once, before all others but `ended`. Audio that is sent before is left out.
 * 3. Each `finish` has one `final`, in order, also where there were no words, and where its audio was lost: then with a `warned`
 *    before it. A `finish` without audio before it has an empty one.
 * 4. A `partial` belongs to the oldest utterance that has no `final`.
 * 5. However audio is cut into pieces, the same words come.
 * 6. `unconfirmedMs` is what was sent and is not known to have been worked on, where the other side says so, and
 *    `bufferedMs` ≤ `unconfirmedMs` always. An API that gets utterances whole has 0, and bounds how many of them wait.
 * 7. What it holds is bounded, whatever the other side sends or does not take. Whatever that is: it ends with a code, and never
 *    throws.
 * 8. After `close` no socket, process or timer of it is left.
 */
export interface Recogniser {
  /** The API's name: `openai-transcription`, `deepgram`, `pocketsphinx`. */
  readonly api: string;
  /** What it takes. */
  readonly input: AudioFormat;
  readonly bufferedMs: number;
  readonly unconfirmedMs: number;
  /** Begins to read. Called once. */
  listen(listener: (event: RecogniserEvent) => void): void;
  /** Sends audio of the utterance that is open; whole samples. The first one opens it. */
  send(audio: Uint8Array): void;
  /** The utterance is over. */
  finish(): void;
  /** Safe to call twice. No event follows. */
  close(): void;
}
