import { SocketAddress } from 'node:net';
import { plainAddress } from './address.ts';

/**
 * The PROXY protocol: what a load balancer writes in front of a connection's own bytes, in version 1 as a line of text, in
 * version 2 in binary (HAProxy's "proxy-protocol.txt").
 */

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const fixedBytes = 16;
const maxLineBytes = 107;
/** The longest header that is taken: what a load balancer adds of its own in version 2 may be a certificate. */
const maxHeaderBytes = 4096;

export interface ProxyHeader {
  readonly byteLength: number;
  /** Whose connection it is; `undefined`: the proxy's own, such as a health check. */
  readonly address: string | undefined;
}

/** Reads the header at the start of a connection. `incomplete`: more bytes have to come, at most 4096 in all. */
export function readProxyHeader(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  if (startsAs(bytes, signature)) return readBinary(bytes);
  if (startsAs(bytes, Buffer.from('PROXY '))) return readLine(bytes);
  return 'invalid';
}

/** Whether the bytes begin with that, as far as they have come. */
function startsAs(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function readLine(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  const end = bytes.subarray(0, maxLineBytes).indexOf('\r\n');
  if (end === -1) return bytes.length < maxLineBytes ? 'incomplete' : 'invalid';
  const byteLength = end + 2;
  const [, family, source = '', destination = '', ...ports] = bytes.toString('latin1', 0, end).split(' ');
  if (family === 'UNKNOWN') return { byteLength, address: undefined };
  const isFamily = (text: string): boolean => text.includes(':') === (family === 'TCP6');
  const address = plainAddress(source);
  const isValid =
    (family === 'TCP4' || family === 'TCP6') &&
    isFamily(source) &&
    isFamily(destination) &&
    plainAddress(destination) !== undefined &&
    ports.length === 2 &&
    ports.every((port) => /^\d{1,5}$/.test(port) && Number(port) <= 65_535);
  return isValid && address !== undefined ? { byteLength, address } : 'invalid';
}

/** The families of addresses that HTTP comes from, over TCP: their code, and the bytes of all that is said of them. */
const families = { 0x11: { sizeBytes: 12 }, 0x21: { sizeBytes: 36 } } as const;

function readBinary(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  if (bytes.length < fixedBytes) return 'incomplete';
  const command = bytes.readUInt8(12);
  const family = bytes.readUInt8(13);
  const byteLength = fixedBytes + bytes.readUInt16BE(14);
  const isLocal = command === 0x20;
  if ((!isLocal && command !== 0x21) || byteLength > maxHeaderBytes) return 'invalid';
  if (bytes.length < byteLength) return 'incomplete';
  // Of another family, such as a Unix socket, there is no address that anybody could count by.
  if (isLocal || (family !== 0x11 && family !== 0x21)) return { byteLength, address: undefined };
  if (byteLength - fixedBytes < families[family].sizeBytes) return 'invalid';
  return { byteLength, address: family === 0x11 ? ipv4(bytes) : ipv6(bytes) };
}

function ipv4(bytes: Buffer): string {
  return bytes.subarray(fixedBytes, fixedBytes + 4).join('.');
}

function ipv6(bytes: Buffer): string | undefined {
  const groups = Array.from({ length: 8 }, (_none, index) =>
    bytes.readUInt16BE(fixedBytes + 2 * index).toString(16),
  );
  return plainAddress(new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address);
}
