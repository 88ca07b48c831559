import { msOfBytes, type SpeechChange, SpeechDetector } from '@spillway/core/audio';
import { Refusal } from './refusal.ts';
import { audioFormatOf, type SessionSettings } from './session-settings.ts';

type InputSettings = SessionSettings['audio']['input'];

/** The most audio in one event, as of the API. */
const maxAppendBytes = 15_728_640;
/** A buffer with less audio is not committed, as of the API. */
const minCommitMs = 100;

/** The audio that a client sends: how much it is, and where the human speaks in it. The audio itself is not kept. */
export class InputAudio {
  /** All that came. */
  receivedMs = 0;
  #settings: InputSettings;
  #detector: SpeechDetector | undefined;
  /** What was not committed. */
  #bufferMs = 0;

  constructor(settings: InputSettings) {
    this.#settings = settings;
    this.#detector = this.#openDetector();
  }

  /** Where the audio begins that was not committed. */
  get bufferedFromMs(): number {
    return this.receivedMs - this.#bufferMs;
  }

  /** Takes other settings. Detection begins anew if it is concerned. */
  use(settings: InputSettings): void {
    const isSame =
      JSON.stringify([settings.format, settings.turn_detection]) ===
      JSON.stringify([this.#settings.format, this.#settings.turn_detection]);
    this.#settings = settings;
    if (!isSame) this.#detector = this.#openDetector();
  }

  /** Takes audio. Returns where speech began and stopped. */
  append(base64: string): SpeechChange[] {
    const audio = Buffer.from(base64, 'base64');
    if (audio.toString('base64') !== base64)
      throw new Refusal('invalid_value', "Invalid 'audio'. Expected base64-encoded audio bytes.", 'audio');
    if (audio.byteLength > maxAppendBytes)
      throw new Refusal(
        'string_above_max_length',
        `Invalid 'audio'. Expected at most ${maxAppendBytes} bytes.`,
        'audio',
      );
    const format = audioFormatOf(this.#settings.format);
    if (format.encoding === 'pcm16' && audio.byteLength % 2 !== 0)
      throw new Refusal('invalid_value', "Invalid 'audio'. Expected whole samples of 16 bits.", 'audio');
    const ms = msOfBytes(format, audio.byteLength);
    this.receivedMs += ms;
    this.#bufferMs += ms;
    return this.#detector?.push(audio) ?? [];
  }

  /** Forgets what was not committed. */
  clear(): void {
    this.#bufferMs = 0;
  }

  /** Commits what came. */
  commit(): void {
    if (this.#bufferMs < minCommitMs)
      throw new Refusal(
        'input_audio_buffer_commit_empty',
        `Error committing input audio buffer: buffer too small. Expected at least ${minCommitMs}ms of audio, but buffer only has ${this.#bufferMs.toFixed(2)}ms of audio.`,
      );
    this.#bufferMs = 0;
  }

  #openDetector(): SpeechDetector | undefined {
    const { format, turn_detection: how } = this.#settings;
    if (how === null) return undefined;
    const isServer = how.type === 'server_vad';
    return new SpeechDetector(
      {
        format: audioFormatOf(format),
        threshold: isServer ? how.threshold : 0.5,
        prefixMs: isServer ? how.prefix_padding_ms : 300,
        silenceMs: isServer ? how.silence_duration_ms : 500,
      },
      this.receivedMs,
    );
  }
}
