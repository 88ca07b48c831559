import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ClientFrame, encodeDataHeader, frameOverheadBytes, subprotocol } from '@spillway/core/session';
import { type WebSocket, WebSocketServer } from 'ws';

type Frame<Type extends ClientFrame['type']> = Extract<ClientFrame, { readonly type: Type }>;

/** What a stream is made of, and what goes wrong with its connections. */
export interface ModelScript {
  /** By the stream's path. */
  readonly streams: Readonly<Record<string, { readonly chunks: readonly string[]; readonly own: string }>>;
  /** How many chunks that wait are merged into one, at most. */
  readonly mergedChunks: number;
  /**
   * One connection after the other: it is lost after so many messages of the gateway, or when so many frames of the
   * client have come, the last of which is lost with it; and its readers may be forgotten.
   */
  readonly cuts: readonly { readonly sent: number; readonly received: number; readonly forgets: boolean }[];
}

interface ModelReader {
  readonly path: string;
  readonly windowBytes: number;
  /** Sent and not acknowledged. */
  unacked: { readonly from: number; readonly to: number; readonly text: string }[];
  sentTo: number;
  ackedTo: number;
  hasEnded: boolean;
}

interface Bound {
  readonly stream: number;
  readonly reader: ModelReader;
}

/** A gateway that keeps to the protocol to the letter, in the little that it does, and says who does not. */
export class ModelGateway {
  url = '';
  readonly violations: string[] = [];
  readonly requests: string[] = [];
  readonly #script: ModelScript;
  readonly #readers = new Map<string, ModelReader>();
  #connections = 0;
  /** By session, the greatest number of a request that arrived over it. */
  readonly #arrived = new Map<string, number>();
  /** Requests whose readers it has forgotten: of those, nobody knows any more whether they arrived. */
  readonly forgotten: string[] = [];
  // A connection may be lost before it is open for the client: then it goes by plain HTTP.
  readonly #server = createServer((request, response) => {
    const { url: path = '' } = request;
    this.#asked(path);
    const { chunks, own } = this.stream(path);
    response.end(chunks.join('') + own);
  });
  readonly #sockets = new WebSocketServer({ server: this.#server, handleProtocols: () => subprotocol });

  constructor(script: ModelScript) {
    this.#script = script;
    this.#sockets.on('connection', (socket) => {
      const cut = script.cuts[this.#connections++];
      new ModelConnection(this, socket, `session-${this.#connections}`, cut);
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#server.close();
  }

  forget(): void {
    for (const { path } of this.#readers.values()) this.forgotten.push(path);
    this.#readers.clear();
  }

  open(frame: Frame<'read' | 'request'>, session: string): ModelReader {
    if (frame.type === 'request') this.#arrived.set(session, frame.stream);
    if (this.#readers.has(frame.reader)) this.violations.push(`The reader ${frame.reader} is there already.`);
    const path = frame.type === 'request' ? frame.path : frame.url.replace('/streams', '');
    if (frame.type === 'request') this.#asked(path);
    const from = frame.type === 'read' ? Number(frame.from) : 0;
    const { windowBytes } = frame;
    const reader = { path, windowBytes, unacked: [], sentTo: from, ackedTo: from, hasEnded: false };
    this.#readers.set(frame.reader, reader);
    return reader;
  }

  resume(frame: Frame<'resume'>): ModelReader | undefined {
    const reader = this.#readers.get(frame.reader);
    if (reader === undefined) return undefined;
    if (frame.offset > reader.sentTo) this.violations.push(`${frame.offset} was never sent.`);
    if (frame.acked > frame.offset) this.violations.push(`${frame.acked} was never received.`);
    if (frame.acked > reader.ackedTo) this.ack(reader, frame.acked);
    // What was on its way is sent again, and may have been merged meanwhile.
    reader.unacked = reader.unacked.filter(({ to }) => to <= frame.offset);
    reader.sentTo = frame.offset;
    reader.hasEnded = false;
    return reader;
  }

  /** Whether the request of a reader that is not there surely did not arrive. */
  isMissing({ request = 0, session = '' }: Frame<'resume'>): boolean {
    return request > (this.#arrived.get(session) ?? 0);
  }

  ack(reader: ModelReader, offset: number): void {
    const index = reader.unacked.findIndex(({ to }) => to === offset);
    if (index < 0) this.violations.push(`${offset} is the end of no frame that is not acknowledged.`);
    reader.unacked.splice(0, index + 1);
    reader.ackedTo = offset;
  }

  #asked(path: string): void {
    if (this.requests.includes(path)) this.violations.push(`${path} was asked for twice.`);
    this.requests.push(path);
  }

  stream(path: string): { readonly chunks: readonly string[]; readonly own: string } {
    return this.#script.streams[path] ?? { chunks: [], own: '' };
  }

  get mergedChunks(): number {
    return this.#script.mergedChunks;
  }
}

class ModelConnection {
  readonly #gateway: ModelGateway;
  readonly #socket: WebSocket;
  readonly #session: string;
  readonly #cut: ModelScript['cuts'][number] | undefined;
  readonly #bound = new Map<number, Bound>();
  #windowBytes = 0;
  #sent = 0;
  #received = 0;
  #isLost = false;

  constructor(
    gateway: ModelGateway,
    socket: WebSocket,
    session: string,
    cut: ModelScript['cuts'][number] | undefined,
  ) {
    this.#gateway = gateway;
    this.#session = session;
    this.#socket = socket;
    this.#cut = cut;
    socket.on('error', () => {});
    socket.on('close', () => (this.#isLost = true));
    socket.on('message', (message) =>
      this.#onFrame(JSON.parse((message as Buffer).toString()) as ClientFrame),
    );
    this.#send({ type: 'open', maxStreams: 100, maxMessageBytes: 100_000, session });
  }

  #onFrame(frame: ClientFrame): void {
    if (this.#isLost) return;
    if (++this.#received === this.#cut?.received) {
      this.#lose();
      return;
    }
    if (frame.type === 'open') this.#windowBytes = frame.windowBytes;
    else if (frame.type === 'request' || frame.type === 'read')
      this.#bind(frame.stream, this.#gateway.open(frame, this.#session));
    else if (frame.type === 'resume') this.#resume(frame);
    else if (frame.type === 'ack') this.#ack(frame);
    else if (frame.type === 'detach' || frame.type === 'cancel') this.#bound.delete(frame.stream);
    // What all that come back have not acknowledged counts first.
    if (frame.type !== 'resume' || frame.more !== true) this.#pump();
  }

  #resume(frame: Frame<'resume'>): void {
    const reader = this.#gateway.resume(frame);
    if (reader !== undefined) this.#bind(frame.stream, reader);
    else {
      const code = this.#gateway.isMissing(frame) ? 'not_arrived' : 'unknown_reader';
      this.#send({ type: 'error', stream: frame.stream, code, message: '', offset: 0 });
    }
  }

  #bind(stream: number, reader: ModelReader): void {
    this.#bound.set(stream, { stream, reader });
    const headers = { 'content-type': 'text/plain' };
    this.#send({ type: 'response', stream, url: `/streams${reader.path}`, status: 200, headers });
  }

  #ack({ offset, stream }: Frame<'ack'>): void {
    const bound = this.#bound.get(stream);
    if (bound !== undefined) this.#gateway.ack(bound.reader, offset);
  }

  /** Sends what credit allows, a frame of each stream in turn. */
  #pump(): void {
    for (let isBusy = true; isBusy && !this.#isLost;) {
      isBusy = false;
      for (const bound of this.#bound.values()) isBusy = this.#sendNext(bound) || isBusy;
    }
  }

  #sendNext({ reader, stream }: Bound): boolean {
    const { chunks, own } = this.#gateway.stream(reader.path);
    if (reader.hasEnded || this.#isLost) return false;
    const from = reader.sentTo;
    if (from === chunks.length) {
      // In two parts, so that it can be cut in between.
      for (const text of [own.slice(0, 2), own.slice(2)]) this.#sendData(stream, from, from, text);
      this.#send({ type: 'end', stream, state: 'completed' });
      reader.hasEnded = true;
      return true;
    }
    const to = Math.min(chunks.length, from + this.#gateway.mergedChunks);
    const text = chunks.slice(from, to).join('');
    const all = [...this.#bound.values()].map((other) => costOf(other.reader));
    const used = all.reduce((sum, bytes) => sum + bytes, 0);
    const bytes = text.length + frameOverheadBytes;
    const fits = (taken: number, window: number): boolean => taken === 0 || taken + bytes <= window;
    if (!fits(costOf(reader), reader.windowBytes) || !fits(used, this.#windowBytes)) {
      this.#send({ type: 'lag', stream, items: 1, bytes: text.length });
      return false;
    }
    reader.unacked.push({ from, to, text });
    reader.sentTo = to;
    this.#sendData(stream, from, to, text);
    return true;
  }

  #sendData(stream: number, from: number, to: number, text: string): void {
    this.#write(Buffer.concat([encodeDataHeader(stream, from, to), Buffer.from(text)]));
  }

  #send(frame: object): void {
    this.#write(JSON.stringify(frame));
  }

  #write(message: Buffer | string): void {
    if (this.#isLost) return;
    this.#socket.send(message);
    if (++this.#sent === this.#cut?.sent) this.#lose();
  }

  #lose(): void {
    this.#isLost = true;
    if (this.#cut?.forgets === true) this.#gateway.forget();
    this.#socket.terminate();
  }
}

function costOf({ unacked }: ModelReader): number {
  return unacked.reduce((sum, { text }) => sum + text.length + frameOverheadBytes, 0);
}
