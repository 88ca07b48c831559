import {
  type AudioFormat,
  bytesOfMs,
  bytesPerSample,
  encodeMulaw,
  msOfBytes,
  Resampler,
  telephoneAudio,
} from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import type { Speech } from '../speech.ts';
import type { AskedSpeech, SimulatedSpeakerFaults } from './speaker-options.ts';

/** How long a piece is that is sent at once. */
const pieceMs = 200;
/** How often it is looked whether a stall is over. */
const stallStepMs = 20;

/** How a text sounds, and when each of its characters (UTF-16 units) is over, in milliseconds. */
export interface SoundOfText {
  readonly audio: Uint8Array;
  readonly msPerCharacter: number;
}

/**
 * How a text sounds: as its clip, or a tone for each character and silence for each space, so that it can be told from the
 * sound where words end. A clip's characters are spread evenly over it.
 */
export function soundOf(
  text: string,
  format: AudioFormat,
  speeches: readonly Speech[],
  msPerCharacter: number,
): SoundOfText {
  const clip = speeches.find((one) => one.text.trim() === text.trim());
  if (clip === undefined) return { audio: tones(text, format, msPerCharacter), msPerCharacter };
  const resampler = new Resampler(telephoneAudio, format);
  const audio = Buffer.concat([resampler.push(clip.audio), resampler.end()]);
  return { audio, msPerCharacter: msOfBytes(format, audio.byteLength) / Math.max(1, text.length) };
}

function tones(text: string, format: AudioFormat, msPerCharacter: number): Uint8Array {
  const perCharacter = bytesOfMs(format, msPerCharacter) / bytesPerSample(format);
  const samples = new Int16Array(text.length * perCharacter);
  for (let index = 0; index < text.length; index += 1) {
    if (text.charAt(index).trim() === '') continue;
    const hz = 200 + (text.charCodeAt(index) % 16) * 25;
    for (let at = 0; at < perCharacter; at += 1)
      samples[index * perCharacter + at] =
        12_000 * Math.sin((2 * Math.PI * hz * (at + 1)) / format.sampleRateHz);
  }
  return format.encoding === 'mulaw' ? encodeMulaw(samples) : new Uint8Array(samples.buffer);
}

/** What sends the sound of a text. */
export interface PacedSpeech {
  readonly asked: AskedSpeech;
  readonly sound: SoundOfText;
  readonly format: AudioFormat;
  readonly delayMs: number;
  readonly speed: number | undefined;
  readonly clock: Pick<Clock, 'after'>;
  readonly faults: () => SimulatedSpeakerFaults;
  /** Aborted when the client does not want the rest. */
  readonly signal: AbortSignal;
  /** Sends a piece that begins at a byte. Resolves when it is taken. */
  readonly send: (piece: Uint8Array, fromByte: number) => Promise<void>;
}

/** Sends a text's sound, piece by piece, as the options and faults say. Resolves with how that ended. */
export async function sendPaced(speech: PacedSpeech): Promise<AskedSpeech['state']> {
  const { asked, clock, delayMs, faults, format, send, signal, sound, speed } = speech;
  // Half a sample off: real servers cut where they want.
  const pieceBytes = bytesOfMs(format, pieceMs) - 1;
  await pass(clock, delayMs, signal);
  for (let at = 0, piece = 0; at < sound.audio.byteLength; at += pieceBytes, piece += 1) {
    while (!signal.aborted && piece >= (faults().stallAfter ?? Infinity))
      await pass(clock, stallStepMs, signal);
    if (signal.aborted) return 'aborted';
    if (piece >= (faults().cutAfter ?? Infinity)) return 'cut';
    await send(sound.audio.subarray(at, at + pieceBytes), at);
    asked.sentMs = msOfBytes(format, Math.min(at + pieceBytes, sound.audio.byteLength));
    if (speed !== undefined) await pass(clock, pieceMs / speed, signal);
  }
  return signal.aborted ? 'aborted' : 'spoken';
}

/** Resolves after some time, or when it is aborted. */
async function pass(clock: Pick<Clock, 'after'>, ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  const over = Promise.withResolvers<void>();
  const timer = clock.after(ms, over.resolve);
  signal.addEventListener('abort', () => over.resolve(), { once: true });
  await over.promise;
  timer.stop();
}
