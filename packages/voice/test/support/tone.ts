import { encodeMulaw } from '@spillway/core/audio';

/** A tone of so many milliseconds, as a telephone has it. */
export function tone(ms: number, hz = 440): Uint8Array {
  return encodeMulaw(
    Int16Array.from({ length: ms * 8 }, (_, index) => 12_000 * Math.sin((2 * Math.PI * hz * index) / 8000)),
  );
}
