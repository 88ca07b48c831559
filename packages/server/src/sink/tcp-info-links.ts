import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { type Links, type LinkState, takenBytes } from './link.ts';
import type { SendQueues } from './send-queues.ts';
import { tcpOf } from './tcp-of.ts';

/** The part of koffi that is used here. */
interface Koffi {
  load(path: string | null): { func(definition: string): (...args: readonly unknown[]) => unknown };
}

const ipprotoTcp = 6;
const tcpInfo = 11;
// The offsets of fields in `struct tcp_info` (linux/tcp.h), which grows only at its end.
const bytesAckedOffset = 120;
const minRttOffset = 148;
/** The size of the struct on Linux 4.6 and later, which have `tcpi_min_rtt`. */
const minInfoBytes = minRttOffset + 4;

/**
 * Reads `TCP_INFO`: one system call of about 1 µs for one connection, exact at any time. `undefined`: this is not
 * Linux, or koffi is not installed.
 */
export function openTcpInfoLinks(): Links | undefined {
  if (process.platform !== 'linux') return undefined;
  let getsockopt: (...args: readonly unknown[]) => unknown;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    getsockopt = koffi.load(null).func('int getsockopt(int, int, int, void *, void *)');
  } catch {
    return undefined;
  }
  const info = new Uint8Array(256);
  const view = new DataView(info.buffer);
  const length = new Uint32Array(1);
  const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
  const ask = (tcp: Socket): boolean => {
    const { fd = -1 } = handleOf(tcp);
    if (fd < 0) return false;
    length[0] = info.byteLength;
    return getsockopt(fd, ipprotoTcp, tcpInfo, info, length) === 0 && length[0] >= minInfoBytes;
  };
  const acked = (): number => Number(view.getBigUint64(bytesAckedOffset, isLittleEndian));
  const read = (socket: Socket): LinkState | undefined => {
    const tcp = tcpOf(socket);
    if (!ask(tcp)) return undefined;
    return {
      atMs: performance.now(),
      // Under TLS the kernel counts encrypted bytes. Those that it still holds stand for as many of the stream's own.
      ackedBytes: tcp === socket ? acked() : takenBytes(socket) - queuedBytes(tcp, acked()),
      minRttMs: view.getUint32(minRttOffset, isLittleEndian) / 1000,
    };
  };
  // Reads one connection at a time, on request. A list of all connections of the machine takes 0.2 s when there are
  // thousands.
  const queues: SendQueues = {
    bytesOf: (socket) => {
      const tcp = tcpOf(socket);
      return ask(tcp) ? queuedBytes(tcp, acked()) : undefined;
    },
  };
  return {
    name: 'tcp-info',
    readQueues: () => Promise.resolve(queues),
    watch: (socket) => () => read(socket),
  };
}

/** The bytes that the kernel holds for a TCP connection. TLS writes past the socket, to its handle, which queues too. */
function queuedBytes(tcp: Socket, ackedBytes: number): number {
  const { writeQueueSize = 0 } = tcp.writableLength === 0 ? handleOf(tcp) : {};
  return Math.max(0, takenBytes(tcp) - writeQueueSize - ackedBytes);
}

/** The handle of an open socket. Node has no public way to it; the handle has had these fields for ten years. */
function handleOf(socket: Socket): { readonly fd?: number; readonly writeQueueSize?: number } {
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: number } | null };
  return handle ?? {};
}
