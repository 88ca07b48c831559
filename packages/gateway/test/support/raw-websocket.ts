import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { subprotocol } from '@spillway/core/session';
import { onTestFinished } from 'vitest';

const opcodes = { continuation: 0, text: 1, close: 8, ping: 9, pong: 10 } as const;

/** A frame from a client, whole or of a message that goes on. */
export function clientFrame(
  type: keyof typeof opcodes,
  payload: Buffer | string,
  isFinal = true,
  announcedBytes = Buffer.byteLength(payload),
): Buffer {
  const bytes = Buffer.from(payload);
  const head = Buffer.alloc(announcedBytes < 126 ? 2 : announcedBytes < 65_536 ? 4 : 10);
  head[0] = (isFinal ? 0x80 : 0) | opcodes[type];
  if (head.length === 2) head[1] = announcedBytes;
  if (head.length === 4) head.writeUInt16BE(announcedBytes, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(announcedBytes), 2);
  head[1] = 0x80 | (head.length === 2 ? announcedBytes : head.length === 4 ? 126 : 127);
  // Masked with nothing.
  return Buffer.concat([head, Buffer.alloc(4), bytes]);
}

/** A frame of control. */
export function textFrame(frame: unknown): Buffer {
  return clientFrame('text', typeof frame === 'string' ? frame : JSON.stringify(frame));
}

/** A WebSocket on a bare socket, which reads only when it is told to, and sends what it is told to. */
export class RawWebSocket {
  readonly socket: Socket;
  /** All messages, and of pongs their payload with `pong ` in front. */
  readonly messages: string[] = [];
  /** The close frame's code, and whether the connection is gone. */
  closeCode: number | undefined;
  isClosed = false;
  #rest = Buffer.alloc(0);
  #isUpgraded = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
    socket.on('data', (bytes) => this.#take(bytes as Buffer));
    onTestFinished(() => void socket.destroy());
  }

  /** Opens one, up to the answer to its upgrade. */
  static async open(url: string, path = '/streams'): Promise<RawWebSocket> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    const opened = new RawWebSocket(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('data', () => resolve());
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
          `sec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\n` +
          `sec-websocket-protocol: ${subprotocol}\r\n\r\n`,
      );
    });
    return opened;
  }

  write(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** How many of the messages have that text in them. */
  count(text: string): number {
    return this.messages.filter((message) => message.includes(text)).length;
  }

  #take(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (!this.#isUpgraded) {
      const end = this.#rest.indexOf('\r\n\r\n');
      if (end === -1) return;
      this.#isUpgraded = true;
      this.#rest = this.#rest.subarray(end + 4);
    }
    let at = 0;
    for (;;) {
      const [head, short = 0] = this.#rest.subarray(at, at + 2);
      if (head === undefined || this.#rest.length < at + 2) break;
      const headBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (this.#rest.length < at + headBytes) break;
      const length =
        short === 127
          ? Number(this.#rest.readBigUInt64BE(at + 2))
          : short === 126
            ? this.#rest.readUInt16BE(at + 2)
            : short;
      const end = at + headBytes + length;
      if (this.#rest.length < end) break;
      this.#message(head & 0x0f, this.#rest.subarray(at + headBytes, end));
      at = end;
    }
    this.#rest = this.#rest.subarray(at);
  }

  #message(opcode: number, payload: Buffer): void {
    if (opcode === opcodes.close) this.closeCode = payload.readUInt16BE(0);
    else this.messages.push((opcode === opcodes.pong ? 'pong ' : '') + payload.toString('latin1'));
  }
}
