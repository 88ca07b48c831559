import { readFile } from 'node:fs/promises';
import { isIPv6, type Socket } from 'node:net';

/**
 * The bytes that the kernel holds for each TCP connection, because the peer has not acknowledged them.
 *
 * Without these a process sees only the bytes that the kernel took. That is megabytes for a reader that never reads,
 * and everything for a machine that has vanished. Linux has the true figures in `/proc/net/tcp`. Elsewhere they are
 * unknown, and a vanished reader is noticed only when the kernel's buffer is full.
 */
export interface SendQueues {
  /** The bytes that the peer has not acknowledged; `undefined`: unknown. */
  bytesOf(socket: Socket): number | undefined;
}

/** Reads the state of all connections of this network namespace in one pass. */
export async function readSendQueues(): Promise<SendQueues | undefined> {
  const texts = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => '')),
  );
  if (texts.every((text) => text === '')) return undefined;
  const queues = new Map<string, number>();
  for (const text of texts) {
    // sl  local_address rem_address st tx_queue:rx_queue …
    for (const [, local, remote, queued] of text.matchAll(/^ *\d+: (\S+) (\S+) \S\S ([\dA-F]+):/gm)) {
      if (queued !== '00000000') queues.set(`${local} ${remote}`, Number.parseInt(queued ?? '', 16));
    }
  }
  return {
    bytesOf(socket) {
      const { localAddress, localPort, remoteAddress, remotePort } = socket;
      if (localAddress === undefined || remoteAddress === undefined) return undefined;
      return (
        queues.get(`${procAddress(localAddress, localPort)} ${procAddress(remoteAddress, remotePort)}`) ?? 0
      );
    },
  };
}

/** An address as the kernel prints it: 32-bit words in the machine's byte order, then the port. */
export function procAddress(address: string, port: number | undefined): string {
  const bytes = isIPv6(address) ? ipv6Bytes(address) : address.split('.').map(Number);
  let text = '';
  for (let word = 0; word < bytes.length; word += 4) {
    for (const byte of littleEndian ? [3, 2, 1, 0] : [0, 1, 2, 3]) text += hex(bytes[word + byte] ?? 0, 2);
  }
  return `${text}:${hex(port ?? 0, 4)}`;
}

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}

/** The 16 bytes of an IPv6 address. URL writes each form as the shortest one, without dots. */
function ipv6Bytes(address: string): number[] {
  const [withoutZone = ''] = address.split('%');
  const [head = '', tail] = new URL(`http://[${withoutZone}]`).hostname.slice(1, -1).split('::');
  const words = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const left = words(head);
  const right = words(tail ?? '');
  const zeros = new Array<string>(8 - left.length - right.length).fill('0');
  return [...left, ...zeros, ...right].flatMap((word) => {
    const value = Number.parseInt(word, 16);
    return [value >> 8, value & 0xff];
  });
}
