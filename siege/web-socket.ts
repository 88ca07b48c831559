import type { Socket } from 'node:net';
import { type Assault, request } from './assault.ts';

/** A WebSocket's message as a client sends it. The mask is zero, so that it changes nothing. */
export function message(payload: Buffer | string, { isFinal = true, opcode = 1 } = {}): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([messageHead(bytes.length, { isFinal, opcode }), bytes]);
}

/** The head of a message of that length; who sends no more of it has half-sent it. */
export function messageHead(length: number, { isFinal = true, opcode = 1 } = {}): Buffer {
  const first = (isFinal ? 0x80 : 0) | opcode;
  const mask = Buffer.alloc(4);
  if (length < 126) return Buffer.concat([Buffer.from([first, 0x80 | length]), mask]);
  if (length < 65_536) {
    const head = Buffer.from([first, 0x80 | 126, 0, 0]);
    head.writeUInt16BE(length, 2);
    return Buffer.concat([head, mask]);
  }
  const head = Buffer.from([first, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(length, 6);
  return Buffer.concat([head, mask]);
}

/** The request for a WebSocket; what is given replaces what a session's would say. */
export function upgrade(
  host: string,
  { path = '/streams', ...headers }: Readonly<Record<string, string>> = {},
): string {
  return request('GET', path, {
    host,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'c3BpbGx3YXkgc2llZ2UhIQ==',
    'sec-websocket-protocol': 'spillway.v1',
    ...headers,
  });
}

/** Opens a session that sends its first frame and reads nothing. */
export function openSession(assault: Assault): Socket {
  const open = message(JSON.stringify({ type: 'open', windowBytes: 1_048_576 }));
  return assault.connect(Buffer.concat([Buffer.from(upgrade(assault.host)), open]));
}
