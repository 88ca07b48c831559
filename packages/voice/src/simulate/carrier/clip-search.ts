/** A clip is looked for in pieces of 200 ms. */
const probeBytes = 1600;

/**
 * Looks for a clip in what was heard, by its own bytes: its pieces have to be there in order, as they are, with anything between
 * them. So it finds what was passed on as it is, however it was cut into frames, and nothing that was encoded anew.
 */
export class ClipSearch {
  readonly #probes: readonly Buffer[];
  #found = 0;
  #from = 0;

  constructor(clip: Uint8Array) {
    const bytes = Buffer.from(clip.buffer, clip.byteOffset, clip.byteLength);
    const size = Math.min(probeBytes, bytes.byteLength);
    this.#probes = Array.from({ length: Math.floor(bytes.byteLength / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    ).filter((probe) => probe.some((byte) => byte !== probe[0]));
  }

  /** How much of the clip was found, from its beginning: 0 to 1. */
  get share(): number {
    return this.#probes.length === 0 ? 0 : this.#found / this.#probes.length;
  }

  /** Looks at all that was heard; later calls go on where an earlier one has stopped. */
  look(heard: Buffer): void {
    for (let probe = this.#probes[this.#found]; probe !== undefined; probe = this.#probes[this.#found]) {
      const at = heard.indexOf(probe, this.#from);
      if (at === -1) return;
      this.#from = at + probe.byteLength;
      this.#found += 1;
    }
  }
}
