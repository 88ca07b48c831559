/**
 * The text of a token: its number and the time at which it was written, both of a fixed width, as `000042 0123456789 `.
 * Nothing in it needs an escape in JSON, so that whoever splices or parses the text around it leaves the same bytes.
 */
export const tokenBytes = 18;
/** Numbers of tokens are below this. */
export const maxTokens = 1_000_000;

const numberDigits = 6;
const timeDigits = 10;
const timeAt = numberDigits + 1;
const timeRangeUs = 10 ** timeDigits;
const [zero, space] = [0x30, 0x20];

/** `performance.now()` is cheaper than the clock that all processes share, but each has its own origin for it. */
const originUs = findOrigin();

/** Microseconds on a clock that all processes of this machine share. */
export function nowUs(): number {
  return originUs + performance.now() * 1000;
}

/** Asks several times: between two questions this process may have to wait. */
function findOrigin(): number {
  let [origin, least] = [0, Infinity];
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const before = performance.now();
    const shared = process.hrtime.bigint();
    const after = performance.now();
    if (after - before >= least) continue;
    least = after - before;
    origin = Number(shared) / 1000 - ((before + after) / 2) * 1000;
  }
  return origin;
}

/** Writes a token's text. */
export function writeToken(bytes: Uint8Array, at: number, number: number, timeUs: number): void {
  writeDigits(bytes, at, numberDigits, number);
  bytes[at + numberDigits] = space;
  writeDigits(bytes, at + timeAt, timeDigits, Math.floor(timeUs) % timeRangeUs);
  bytes[at + timeAt + timeDigits] = space;
}

/** The number of the token whose text is here; NaN if none is. */
export function tokenNumber(text: string, at: number): number {
  if (text.charCodeAt(at + numberDigits) !== space || text.charCodeAt(at + tokenBytes - 1) !== space) {
    return Number.NaN;
  }
  return readDigits(text, at, numberDigits);
}

/** Microseconds since the token whose text is here was written; NaN if its text is not whole. Two clocks' error apart. */
export function tokenAgeUs(text: string, at: number, timeUs: number): number {
  const age = (timeUs % timeRangeUs) - readDigits(text, at + timeAt, timeDigits);
  return age < -timeRangeUs / 2 ? age + timeRangeUs : age;
}

function writeDigits(bytes: Uint8Array, at: number, digits: number, value: number): void {
  let rest = value;
  for (let index = at + digits - 1; index >= at; index -= 1) {
    const tens = Math.floor(rest / 10);
    bytes[index] = zero + rest - tens * 10;
    rest = tens;
  }
}

function readDigits(text: string, at: number, digits: number): number {
  let value = 0;
  for (let index = at; index < at + digits; index += 1) {
    const digit = text.charCodeAt(index) - zero;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}
