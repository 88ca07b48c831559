import type { AudioFormat } from '@spillway/core/audio';
import type { SpokenWord } from '../call/heard-text.ts';

/** What comes of a text that is spoken. */
export type SpokenEvent =
  /** Whole samples. */
  | { readonly kind: 'audio'; readonly audio: Uint8Array }
  /** Words of which the time is known, in the order of the text. Before or after their audio. */
  | { readonly kind: 'words'; readonly words: readonly SpokenWord[] };

/**
 * Makes speech of a text. It gets a sentence, or some 200 characters, at a time. One file for each API knows its messages.
 *
 * 1. The audio comes in order and is whole samples, however the other side cuts it, and has no header.
 * 2. Nothing is read ahead of who iterates, but what a socket holds.
 * 3. It ends when all was spoken. Speech that was cut throws a `StageError`.
 * 4. An abort ends the request at once, also at the other side, and the iteration rejects with the signal's reason.
 * 5. A text without anything to be spoken ends without audio.
 * 6. What it holds is bounded, whatever comes. More than a minute of speech for 200 characters is `bad_message`.
 * 7. One `speak` runs at a time. A second one may come as soon as the first has ended or was aborted, and nothing of the first is in it.
 * 8. After `close` no socket, process or timer of it is left.
 */
export interface Speaker {
  /** The API's name: `openai-speech`, `elevenlabs`, `flite`. */
  readonly api: string;
  /** What it makes. */
  readonly output: AudioFormat;
  speak(text: string, options: { readonly signal: AbortSignal }): AsyncIterable<SpokenEvent>;
  /** Safe to call twice. */
  close(): void;
}
