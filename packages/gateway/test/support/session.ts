import { randomBytes } from 'node:crypto';
import {
  type ClientFrame,
  type DataFrame,
  decodeData,
  frameOverheadBytes,
  type GatewayFrame,
  subprotocol,
} from '@spillway/core/session';
import { onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { chatBody } from './requests.ts';
import { eventually } from './spawn.ts';

/** A client that does nothing by itself: what it sends is what a test says. */
export class RawSession {
  readonly socket: WebSocket;
  readonly frames: GatewayFrame[] = [];
  readonly data: DataFrame[] = [];
  /** The code and the reason, once it is closed. */
  closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(url: string, headers: Record<string, string> = {}, protocols: string | string[] = subprotocol) {
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/streams`, protocols, { headers });
    this.socket.binaryType = 'arraybuffer';
    this.socket.setMaxListeners(100);
    this.socket.on('message', (message, isBinary) => {
      if (!isBinary) {
        this.frames.push(
          JSON.parse((message as ArrayBuffer & { toString(): string }).toString()) as GatewayFrame,
        );
        return;
      }
      const frame = decodeData(message as ArrayBuffer);
      if (frame !== undefined) this.data.push(frame);
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', (code, reason) => (this.closed = { code, reason: reason.toString() }));
    onTestFinished(() => this.socket.terminate());
  }

  send(frame: ClientFrame | Record<string, unknown> | string): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Of one kind and one stream. */
  of<Type extends GatewayFrame['type']>(
    type: Type,
    stream?: number,
  ): Extract<GatewayFrame, { readonly type: Type }>[] {
    return this.frames.filter(
      (frame): frame is Extract<GatewayFrame, { readonly type: Type }> =>
        frame.type === type && (stream === undefined || !('stream' in frame) || frame.stream === stream),
    );
  }

  /** What a stream's chunks say, in the order in which they came. */
  text(stream = 1): string {
    const chunks = this.data.filter((frame) => frame.stream === stream).map(({ bytes }) => bytes);
    return Buffer.concat(chunks).toString('utf8');
  }

  /** What its chunks cost of a window. */
  cost(stream = 1): number {
    return this.data
      .filter((frame) => frame.stream === stream && frame.to > frame.from)
      .reduce((sum, { bytes }) => sum + bytes.length + frameOverheadBytes, 0);
  }

  /** The offset behind what was received. */
  offset(stream = 1): number {
    return this.data.findLast((frame) => frame.stream === stream)?.to ?? 0;
  }
}

/** Opens a session, with its first frame. */
export async function openSession(
  url: string,
  { headers = {}, windowBytes = 1_048_576 }: { headers?: Record<string, string>; windowBytes?: number } = {},
): Promise<RawSession> {
  const session = new RawSession(url, headers);
  await eventually(() => session.of('open').length === 1, 'the session to be open');
  session.send({ type: 'open', windowBytes });
  return session;
}

export function newReader(): string {
  return randomBytes(18).toString('base64url');
}

/** A chat completion. */
export function chatRequest(
  model: string,
  options: { stream?: number; reader?: string; windowBytes?: number; headers?: Record<string, string> } = {},
): Extract<ClientFrame, { readonly type: 'request' }> {
  const { headers = {}, reader = newReader(), stream = 1, windowBytes = 16_384 } = options;
  return {
    type: 'request',
    stream,
    reader,
    windowBytes,
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', ...headers },
    body: chatBody(model),
  };
}
