import { connect, type Socket } from 'node:net';

/** Whom attackers attack. */
export interface Target {
  readonly gatewayUrl: string;
  readonly adminUrl: string;
  /** A key of the gateway's, for attackers that have one. */
  readonly key: string;
}

/** What one kind of attack did. */
export interface AssaultCounts {
  /** Connections and messages, whatever became of them. */
  readonly attempts: number;
  /** Connections that the gateway, or the kernel for it, did not take. */
  readonly refused: number;
  /** Connections that the gateway ended. */
  readonly ended: number;
  /** Answers that say that the gateway has a defect. */
  readonly defects: number;
}

const tickMs = 50;
/** How long one connection is kept: longer than any deadline of the small gateway. */
const keepMs = 20_000;
/** How long a connection that is left in good order waits for the other half. */
export const leaveMs = 500;
/** Attackers come from so many addresses, all of loopback. */
const addresses = 64;
/** What a socket may hold back that the gateway does not read. */
const maxPumpedBytes = 262_144;

/** One kind of attack under way: opens connections, counts them, and leaves nothing when it stops. */
export class Assault {
  readonly target: Target;
  readonly #sockets = new Set<Socket>();
  readonly #timers: NodeJS.Timeout[] = [];
  #attempts = 0;
  #refused = 0;
  #ended = 0;
  #defects = 0;
  #dropped = 0;
  #isStopped = false;

  constructor(target: Target) {
    this.target = target;
  }

  get counts(): AssaultCounts {
    return { attempts: this.#attempts, refused: this.#refused, ended: this.#ended, defects: this.#defects };
  }

  /** What the `Host` header of the gateway says. */
  get host(): string {
    return new URL(this.target.gatewayUrl).host;
  }

  /**
   * Opens a connection, and writes to it. It never closes its own half, and unless it `reads` it takes nothing of what
   * comes: what the gateway says stays in the kernel.
   */
  connect(bytes: Buffer | string = '', { isAdmin = false, reads = false } = {}): Socket {
    this.#attempts += 1;
    const { hostname, port } = new URL(isAdmin ? this.target.adminUrl : this.target.gatewayUrl);
    const localAddress = `127.0.1.${1 + (this.#attempts % addresses)}`;
    const socket = connect({ host: hostname, port: Number(port), localAddress, allowHalfOpen: !reads });
    this.#sockets.add(socket);
    let isOpen = false;
    socket.once('connect', () => (isOpen = true));
    // It waits for the connection, and what is written later is behind it.
    if (bytes.length > 0) socket.write(bytes);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      if (this.#sockets.delete(socket)) this.#count(isOpen);
    });
    if (reads) socket.on('data', (received: Buffer) => this.#look(received));
    else socket.pause();
    return socket;
  }

  /** Leaves one of its connections: every other time in good order, with a close of its half, and else by a reset. */
  drop(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#dropped += 1;
    if (this.#dropped % 2 === 0 || socket.connecting) {
      socket.resetAndDestroy();
      return;
    }
    // What has come has to be read: the kernel would make a reset of it.
    socket.once('end', () => socket.destroy());
    socket.resume().end();
    setTimeout(() => socket.destroy(), leaveMs).unref();
  }

  /** Does something so often a second, in small bursts. */
  every(perSecond: number, work: () => void): void {
    let due = 0;
    const timer = setInterval(() => {
      for (due += (perSecond * tickMs) / 1000; due >= 1; due -= 1) if (!this.#isStopped) work();
    }, tickMs);
    this.#timers.push(timer);
  }

  /** Keeps so many connections open, and replaces each by another one after a while. */
  keep(count: number, perSecond: number, open: () => Socket): void {
    const kept: { readonly socket: Socket; readonly untilMs: number }[] = [];
    this.every(perSecond, () => {
      const nowMs = performance.now();
      const index = kept.findIndex(({ socket, untilMs }) => socket.destroyed || nowMs >= untilMs);
      if (index === -1 && kept.length >= count) return;
      if (index !== -1) for (const { socket } of kept.splice(index, 1)) this.drop(socket);
      kept.push({ socket: open(), untilMs: nowMs + keepMs });
    });
  }

  /** Writes the same bytes so often a second, unless the socket holds enough of them back. */
  pump(socket: Socket, perSecond: number, bytes: () => Buffer | string): void {
    this.every(perSecond, () => {
      if (socket.destroyed || socket.connecting || socket.writableLength > maxPumpedBytes) return;
      this.#attempts += 1;
      socket.write(bytes());
    });
  }

  /** Leaves all connections, and opens no more. */
  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#sockets) this.drop(socket);
  }

  #count(wasOpen: boolean): void {
    if (wasOpen) this.#ended += 1;
    else this.#refused += 1;
  }

  #look(received: Buffer): void {
    if (received.includes('HTTP/1.1 500') && received.includes('internal_error')) this.#defects += 1;
  }
}

/** A request as it is on the wire. */
export function request(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body = '',
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}

/** A chat completion with a key, and a body of its length. What is given replaces what a client would say. */
export function chat(
  { host, target }: Assault,
  model: string,
  {
    body = JSON.stringify({ model, stream: true, messages: [] }),
    path = '/v1/chat/completions',
    ...more
  }: Readonly<Record<string, string>> = {},
): string {
  const headers = {
    host,
    authorization: `Bearer ${target.key}`,
    'content-type': 'application/json',
    'content-length': `${Buffer.byteLength(body)}`,
    ...more,
  };
  return request('POST', path, headers, body);
}
