import { SocketAddress } from 'node:net';
import { plainAddress } from './address.ts';

/**
 * The PROXY protocol: a load balancer writes a header before a connection's own bytes. Version 1 is a line of
 * text, version 2 is binary (HAProxy's "proxy-protocol.txt").
 */

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const linePrefix = Buffer.from('PROXY ');
const fixedBytes = 16;
const maxLineBytes = 107;
/**
 * The longest header allowed, in bytes. A load balancer's own additions in version 2 may contain a
 * certificate.
 */
const maxHeaderBytes = 4096;

export interface ProxyHeader {
  readonly byteLength: number;
  /**
   * The client's address; `undefined`: the connection is the proxy's own, such as a health check, or has no
   * IP address.
   */
  readonly address: string | undefined;
}

/**
 * Reads the header at the start of a connection. `incomplete`: more bytes are needed, at most 4096 in all.
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  if (startsAs(bytes, signature)) return readBinary(bytes);
  if (startsAs(bytes, linePrefix)) return readLine(bytes);
  return 'invalid';
}

/** Whether bytes begin with a header of the PROXY protocol, in whatever version. */
export function beginsProxyHeader(bytes: Buffer): boolean {
  return [signature, linePrefix].some((start) => bytes.subarray(0, start.length).equals(start));
}

/** Whether `bytes` begins with `start`, as far as the bytes have come. */
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

/**
 * The address families for TCP by their code: IPv4 and IPv6. `sizeBytes` is the length of the addresses and
 * ports.
 */
const families = { 0x11: { sizeBytes: 12 }, 0x21: { sizeBytes: 36 } } as const;

function readBinary(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  if (bytes.length < fixedBytes) return 'incomplete';
  const command = bytes.readUInt8(12);
  const family = bytes.readUInt8(13);
  const byteLength = fixedBytes + bytes.readUInt16BE(14);
  const isLocal = command === 0x20;
  if ((!isLocal && command !== 0x21) || byteLength > maxHeaderBytes) return 'invalid';
  if (bytes.length < byteLength) return 'incomplete';
  // Another family, such as a Unix socket, has no address to count connections by.
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
