import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AudioFormat } from '@spillway/core/audio';
import { invalid } from '@spillway/core/invalid';
import type { SpokenEvent, Speaker } from '../speaker.ts';
import { StageError, type StageErrorCode } from '../stage-error.ts';
import { Attempt, type SpeakTimeouts } from './attempt.ts';
import { closedSpeaker, timeoutsOf } from './speak-options.ts';
import { isSpoken, SpeechBytes } from './speech.ts';
import { WavReader } from './wav-reader.ts';

const program = 'flite';
const missing = 'The program flite is not there: apt-get install flite.';
/** An operating system bounds what a program is given. */
const maxCharacters = 10_000;
/** What is read of its speech at once: two seconds. */
const pieceBytes = 65_536;

/** Voices of Debian's flite, and the samples that each makes in a second. */
const voices = { awb: 16_000, kal: 8000, kal16: 16_000, rms: 16_000, slt: 16_000 } as const;

/** How Flite speaks. */
export interface FliteOptions extends SpeakTimeouts {
  /** `rms`, `slt`, `awb`, `kal16` or `kal`. Default: `rms`. */
  readonly voice?: string;
}

class Flite implements Speaker {
  readonly api = 'flite';
  readonly output: AudioFormat;
  readonly #voice: string;
  readonly #timeouts: Required<SpeakTimeouts>;
  readonly #closed = new AbortController();

  constructor(options: FliteOptions) {
    const { voice = 'rms' } = options;
    if (!isVoice(voice))
      throw invalid(`voice: expected ${Object.keys(voices).join(', ')}, got ${JSON.stringify(voice)}.`);
    this.#voice = voice;
    this.output = { encoding: 'pcm16', sampleRateHz: voices[voice] };
    this.#timeouts = timeoutsOf(options);
  }

  async *speak(
    text: string,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<SpokenEvent, void, undefined> {
    const attempt = new Attempt(this.#timeouts, signal, this.#closed.signal);
    attempt.signal.throwIfAborted();
    if (!isSpoken(text)) return;
    if (text.length > maxCharacters)
      throw new StageError(
        'refused',
        `The text has ${text.length} characters; Flite is given ${maxCharacters} at most.`,
      );
    const file = await openNameless();
    try {
      await attempt.wait(this.#write(text, file, attempt.signal));
      const wav = new WavReader(this.output);
      const speech = new SpeechBytes(this.output, text);
      for (let at = 0; ;) {
        const { buffer, bytesRead } = await attempt.wait(
          file.read(Buffer.alloc(pieceBytes), 0, pieceBytes, at),
        );
        if (bytesRead === 0) break;
        at += bytesRead;
        const audio = speech.push(wav.push(buffer.subarray(0, bytesRead)));
        if (audio.byteLength === 0) continue;
        yield { kind: 'audio', audio };
        attempt.signal.throwIfAborted();
      }
      if (!wav.isWhole) throw new StageError('lost', 'Flite ended in the middle.');
      speech.end();
    } finally {
      attempt.end();
      await file.close();
    }
  }

  close(): void {
    this.#closed.abort(closedSpeaker());
  }

  /** Writes the speech of a text to a file. Resolves when the program is over. */
  #write(text: string, file: FileHandle, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      // No shell, and what is behind `-t` is a text whatever it begins with. A zero would end it.
      const words = text.replaceAll('\0', ' ');
      const child = spawn(program, ['-voice', this.#voice, '-t', words, '-o', '/dev/stdout'], {
        stdio: ['ignore', file.fd, 'ignore'],
        signal,
        killSignal: 'SIGKILL',
      });
      const fail = (code: StageErrorCode, message: string): void =>
        reject(signal.aborted ? signal.reason : new StageError(code, message));
      child.once('exit', (code, name) => {
        if (code === 0) resolve();
        else fail('lost', `Flite ended with ${code ?? name}.`);
      });
      child.on('error', ({ code, name }: Error & { readonly code?: string }) =>
        fail('unreachable', code === 'ENOENT' ? missing : `Flite does not run: ${code ?? name}.`),
      );
    });
  }
}

function isVoice(voice: string): voice is keyof typeof voices {
  return Object.hasOwn(voices, voice);
}

/**
 * A file that only this process and its children have: it has no name, so that it is gone when they are. Flite writes its speech when
 * all of it is made, and it cannot write it to the sockets that Node's pipes are.
 */
async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `spillway-${randomUUID()}.wav`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}

/**
 * Speaks by the program Flite, offline: English, 16 bits, 16,000 samples a second (`kal`: 8,000), some 70 ms of a processor for a sentence.
 * Each text is a process; what is spoken is seen in the machine's list of processes meanwhile. It does not say when words
 * are spoken. How many run at once is the caller's to bound.
 *
 * A text fails with a `StageError`: `unreachable` (the program is not there), `lost` (it ended in the middle), `late`,
 * `bad_message` (no WAV file of this voice) and `refused` (more than 10,000 characters).
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const problem = await fliteMissing();
 * if (problem !== undefined) throw new Error(problem);
 * const speaker = openFlite({ voice: 'slt' });
 * ```
 */
export function openFlite(options: FliteOptions = {}): Speaker {
  return new Flite(options);
}

/** Says what to install where Flite is not there; `undefined`: it is. */
export function fliteMissing(): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(program, ['--version'], { timeout: 10_000 }, (error) =>
      resolve(error !== null && error.code === 'ENOENT' ? missing : undefined),
    );
  });
}
