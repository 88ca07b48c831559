/** A frame of 20 ms in base64: digits are letters of it, so that a bridge that decodes and encodes keeps them. */
const digits = 12;
const rest = `${'A'.repeat(214 - digits)}==`;
const range = 10 ** digits;

/** A frame that says when it was sent, in microseconds. */
export function stampedFrame(nowUs: number): string {
  return `${Math.floor(nowUs % range)}`.padStart(digits, '0') + rest;
}

/** How old the frame is that stands in a text from this index on, in microseconds. */
export function frameAgeUs(text: string, from: number, nowUs: number): number {
  const ageUs = Math.floor(nowUs % range) - Number(text.slice(from, from + digits));
  return ageUs < 0 ? ageUs + range : ageUs;
}
