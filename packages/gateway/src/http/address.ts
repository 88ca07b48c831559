import { isIP, SocketAddress } from 'node:net';

/** The longest text of an address: an IPv6 address with an IPv4 address at its end. */
const maxLength = 45;

/**
 * An IP address in its canonical spelling. An IPv4 address that is mapped into IPv6 becomes plain IPv4. Any
 * other IPv6 address is in lower case and shortened. `undefined`: the text is no address.
 */
export function plainAddress(text: string): string | undefined {
  const version = text.length > maxLength || text.includes('%') ? 0 : isIP(text);
  if (version !== 6) return version === 4 ? text : undefined;
  const { address } = new SocketAddress({ address: text, family: 'ipv6' });
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1] ?? address;
}

/**
 * The network that counts as one client where addresses are bounded. A client with one IPv6 address usually
 * has all of its /64, so the network is the first half of it. Takes a result of {@link plainAddress}.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = [], tail] = address.split('::').map((half) => (half === '' ? [] : half.split(':')));
  if (tail === undefined) return head.slice(0, 4).join(':');
  // "::" stands for the missing zeros of eight groups. An IPv4 address at the end is two groups.
  const given = head.length + tail.length + (tail.at(-1)?.includes('.') === true ? 1 : 0);
  const zeros = Array.from({ length: 8 - given }, () => '0');
  return [...head, ...zeros, ...tail].slice(0, 4).join(':');
}
