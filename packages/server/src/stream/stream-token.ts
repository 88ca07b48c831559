import type { Clock } from '@spillway/core/clock';

const tokenBytes = 24;
const idBytes = 16;
/** Random bytes for 128 tokens are drawn at once: one draw costs 40 µs between other work, whatever its size. */
const drawnBytes = (tokenBytes + idBytes) * 128;

/** Draws tokens and ids of streams and sessions, which nobody can guess or repeat. */
export class StreamTokens {
  readonly #clock: Pick<Clock, 'randomBytes'>;
  #drawn = Buffer.alloc(0);
  #used = 0;

  constructor(clock: Pick<Clock, 'randomBytes'>) {
    this.#clock = clock;
  }

  /**
   * 192 random bits, written so that a URL can have them. With the token one can read the stream, or act for the
   * session.
   */
  token(): string {
    return this.#take(tokenBytes, 'base64url');
  }

  /** A UUID of version 4, which says nothing about the token. */
  id(): string {
    const hex = this.#take(idBytes, 'hex');
    const variant = ((Number.parseInt(hex.charAt(16), 16) & 0x3) | 0x8).toString(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  #take(bytes: number, encoding: 'base64url' | 'hex'): string {
    if (this.#used + bytes > this.#drawn.length) {
      this.#drawn = Buffer.from(this.#clock.randomBytes(drawnBytes).buffer);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += bytes;
    const name = this.#drawn.toString(encoding, from, this.#used);
    // The bytes are a secret, and are not needed any more.
    this.#drawn.fill(0, from, this.#used);
    return name;
  }
}
