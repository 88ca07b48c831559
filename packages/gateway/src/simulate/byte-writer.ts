import type { ServerResponse } from 'node:http';
import type { Behaviour } from './behaviour.ts';

/**
 * Writes events as bytes with the faults of the transport: other line ends, a byte order mark, split
 * pieces, a cut. It honours backpressure: what the reader does not take is not made.
 */
export class ByteWriter {
  readonly #response: ServerResponse;
  readonly #behaviour: Behaviour;
  #isFirst = true;
  #drained: (() => void) | undefined;
  bytes = 0;

  constructor(response: ServerResponse, behaviour: Behaviour) {
    this.#response = response;
    this.#behaviour = behaviour;
    const settle = (): void => {
      this.#drained?.();
      this.#drained = undefined;
    };
    response.on('drain', settle);
    response.on('close', settle);
  }

  /** The reader left, or the connection was cut on purpose: there is nobody to write to. */
  get isGone(): boolean {
    return this.#response.destroyed;
  }

  /** Writes, and waits if the reader does not keep up. Resolves with `false` when it is gone. */
  async write(events: string): Promise<boolean> {
    const { bom, eol, split } = this.#behaviour;
    let text = eol === 'lf' ? events : events.replaceAll('\n', eol === 'cr' ? '\r' : '\r\n');
    if (bom && this.#isFirst) text = `\uFEFF${text}`;
    this.#isFirst = false;
    const buffer = Buffer.from(text);
    if (split === undefined) return this.#put(buffer);
    for (let from = 0; from < buffer.length; from += split) {
      if (!(await this.#put(buffer.subarray(from, from + split)))) return false;
    }
    return true;
  }

  async #put(buffer: Buffer): Promise<boolean> {
    const { cut } = this.#behaviour;
    const isCut = cut !== undefined && this.bytes + buffer.length >= cut;
    const piece = isCut ? buffer.subarray(0, cut - this.bytes) : buffer;
    if (this.isGone) return false;
    this.bytes += piece.length;
    if (isCut) {
      await new Promise<void>((resolve) => {
        if (piece.length === 0) this.#response.flushHeaders();
        this.#response.write(piece, () => resolve());
        this.#response.once('close', resolve);
      });
      this.#response.destroy();
      return false;
    }
    if (!this.#response.write(piece)) await new Promise<void>((resolve) => (this.#drained = resolve));
    return !this.isGone;
  }
}
