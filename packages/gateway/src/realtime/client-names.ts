/** Bits of the filter: with 10,000 names, one of 14 new ones is taken for one that came. */
const filterBits = 65_536;

/**
 * The names (`event_id`) that a client has given to its events. It may give one to two of them, and what the provider then says of that
 * name may be about either. It forgets none, and takes a new one for an old one the more often the more there were.
 */
export class ClientNames {
  #filter: Uint8Array | undefined;

  /** Notes a name. Returns whether it may have come before. */
  add(name: string): boolean {
    this.#filter ??= new Uint8Array(filterBits / 8);
    let wasThere = true;
    for (const seed of [0x811c_9dc5, 0x9747_b28c]) {
      const bit = hashOf(name, seed) % filterBits;
      const mask = 1 << (bit & 7);
      const byte = this.#filter[bit >> 3] ?? 0;
      if ((byte & mask) === 0) wasThere = false;
      this.#filter[bit >> 3] = byte | mask;
    }
    return wasThere;
  }
}

function hashOf(name: string, seed: number): number {
  let hash = seed;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x0100_0193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
