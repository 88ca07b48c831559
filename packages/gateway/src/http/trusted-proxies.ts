import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { plainAddress } from './address.ts';

/** Reads an address, or a network as `10.0.0.0/8`; `undefined`: the text is neither. */
function readNetwork(text: string): { readonly address: string; readonly prefix: number } | undefined {
  const [base = '', bits, ...more] = text.split('/');
  const version = isIP(base);
  const longest = version === 4 ? 32 : 128;
  if (version === 0 || more.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return undefined;
  const prefix = bits === undefined ? longest : Number(bits);
  const address = plainAddress(base);
  if (address === undefined || prefix > longest) return undefined;
  // An IPv4 network that is mapped into IPv6 has a constant prefix of 96 bits.
  const isMapped = version === 6 && isIP(address) === 4;
  return isMapped && prefix < 96 ? undefined : { address, prefix: isMapped ? prefix - 96 : prefix };
}

/** Whether the text is an address or a network, as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  return readNetwork(text) !== undefined;
}

/**
 * The proxies whose headers are trusted to name a client's address. Such headers from any other peer are
 * ignored.
 */
export class TrustedProxies {
  readonly #list = new BlockList();

  /** Takes addresses and networks that {@link isNetwork} accepts. */
  constructor(networks: readonly string[]) {
    for (const text of networks) {
      const network = readNetwork(text);
      if (network === undefined) throw new TypeError(`expected an address or a network, got ${text}`);
      const { address, prefix } = network;
      this.#list.addSubnet(address, prefix, isIP(address) === 4 ? 'ipv4' : 'ipv6');
    }
  }

  /** Whether an address, a result of {@link plainAddress}, is a trusted proxy's. */
  trusts(address: string): boolean {
    return this.#list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }

  /**
   * The client's address of a request that came over a connection from `peer`. It is the last address in
   * `Forwarded` (RFC 7239) or `X-Forwarded-For` that is no trusted proxy's. Where a hop is no address, the
   * hop after it counts, which the next proxy wrote.
   */
  clientOf(peer: string, headers: IncomingHttpHeaders): string {
    if (!this.trusts(peer)) return peer;
    const { forwarded } = headers;
    const plain = headers['x-forwarded-for']?.toString();
    // Commas inside of quotes separate hops, too: a client's open quote must not swallow the hop that a proxy
    // added after it.
    const byStandard = forwarded === undefined ? undefined : this.#last(peer, forwarded.split(','), readFor);
    const byCustom = plain === undefined ? undefined : this.#last(peer, plain.split(','), readHop);
    // A proxy writes one of the headers and forwards the other as its client wrote it. Which one is unknown.
    if (byStandard !== undefined && byCustom !== undefined && byStandard !== byCustom) return peer;
    return byStandard ?? byCustom ?? peer;
  }

  #last(peer: string, hops: readonly string[], read: (hop: string) => string | undefined): string {
    let last = peer;
    for (const hop of hops.toReversed()) {
      const address = read(hop);
      if (address === undefined) break;
      last = address;
      if (!this.trusts(address)) break;
    }
    return last;
  }
}

/** Reads an address, with or without brackets and a port. */
function readHop(text: string): string | undefined {
  const hop = text.trim();
  const bare = /^\[([^\]]*)\](?::\w+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\w+$/.exec(hop)?.[1] ?? hop;
  return plainAddress(bare);
}

/** Reads the `for` of one element of `Forwarded`. */
function readFor(element: string): string | undefined {
  const values = element.split(';').flatMap((pair) => /^\s*for\s*=(.*)$/i.exec(pair)?.[1]?.trim() ?? []);
  const [value] = values;
  if (value === undefined || values.length > 1) return undefined;
  return readHop(/^"(.*)"$/.exec(value)?.[1] ?? value);
}
