import { randomFillSync } from 'node:crypto';

const tokenBytes = 24;
/** Drawn for so many at once: between other work, one draw costs 40 µs, whatever its size. */
const drawn = Buffer.allocUnsafeSlow(tokenBytes * 128);
let used = drawn.length;

/** 192 random bits that a URL can have: whoever knows them may read the stream, or speak of the session. */
export function createStreamToken(): string {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  const token = drawn.toString('base64url', used, used + tokenBytes);
  // Nobody needs them any more, and they are a secret.
  drawn.fill(0, used, used + tokenBytes);
  used += tokenBytes;
  return token;
}
