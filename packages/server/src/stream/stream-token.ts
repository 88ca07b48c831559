import type { Clock } from '@spillway/core/clock';

const tokenBytes = 24;
const idBytes = 16;
/** Drawn for so many at once: between other work, one draw costs 40 µs, whatever its size. */
const drawnBytes = (tokenBytes + idBytes) * 128;

/** Names of streams and sessions that nobody else has. */
export class StreamTokens {
  readonly #clock: Pick<Clock, 'randomBytes'>;
  #drawn = Buffer.alloc(0);
  #used = 0;

  constructor(clock: Pick<Clock, 'randomBytes'>) {
    this.#clock = clock;
  }

  /** 192 random bits that a URL can have: whoever knows them may read the stream, or speak of the session. */
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
    // Nobody needs them any more, and they are a secret.
    this.#drawn.fill(0, from, this.#used);
    return name;
  }
}
