// The simulated provider of the benchmark: answers every request with numbered tokens from ready-made bytes, as cheaply
// as Node can, so that it is not what is measured. `GET /stats` says what became of each reply.
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type Asked, end, fill, firstEvent, type Frame, framesOf, head, parseModel } from './reply.ts';
import { nowUs } from './token.ts';

/** What became of a reply. Times are of the clock that all processes share. */
export interface ReplyStats {
  readonly name: string;
  readonly startedUs: number;
  /** When the connection was seen to be closed, or the reply was complete. */
  endedUs: number | undefined;
  isComplete: boolean;
  /** What was written: what a provider would have had to make. */
  tokens: number;
  bytes: number;
  /** When its last writes were, if that was asked for. */
  writtenUs?: readonly number[];
}

/** So many of a reply's last write times are kept, to tell which tokens were written after a reader had left. */
const keptWriteTimes = 1024;

const started: Reply[] = [];
const frames = new Map<number, Frame[]>();

class Reply {
  readonly stats: ReplyStats;
  readonly writtenUs: number[] = [];
  readonly #asked: Asked;
  readonly #socket: Socket;
  readonly #frames: Frame[];
  #turn = 0;
  #hasBegun = false;

  constructor(asked: Asked, socket: Socket) {
    this.#asked = asked;
    this.#socket = socket;
    this.#frames = frames.get(asked.batch) ?? framesOf(asked.batch);
    frames.set(asked.batch, this.#frames);
    this.stats = {
      name: asked.name,
      startedUs: nowUs(),
      endedUs: undefined,
      isComplete: false,
      tokens: 0,
      bytes: 0,
    };
  }

  async start(): Promise<void> {
    const { headers, tps, ttft } = this.#asked;
    if (headers > 0) await new Promise((resolve) => setTimeout(resolve, headers).unref());
    if (this.isOver) return;
    this.#write(head);
    if (ttft > 0) await new Promise((resolve) => setTimeout(resolve, ttft).unref());
    if (this.isOver) return;
    this.#hasBegun = true;
    this.#write(firstEvent);
    this.next();
    if (this.isOver) return;
    if (tps === 0) eager.add(this);
    else schedule(this, this.intervalMs);
  }

  get intervalMs(): number {
    return Math.max(1, Math.round((1000 * this.#asked.batch) / this.#asked.tps));
  }

  get isOver(): boolean {
    return this.stats.endedUs !== undefined;
  }

  /** Whether the connection has not taken all that was written. */
  get isBlocked(): boolean {
    return this.#socket.writableLength > 0;
  }

  /** Writes the next tokens, unless the reader has not taken the last ones. */
  next(): void {
    if (this.isBlocked) return;
    const { batch, tokens } = this.#asked;
    const turn = this.#turn;
    this.#turn = (turn + 1) % this.#frames.length;
    const frame = this.#frames[turn];
    if (frame === undefined) throw new Error('there are no frames');
    const timeUs = nowUs();
    fill(frame, this.stats.tokens, timeUs);
    this.#write(frame.bytes);
    // What the kernel did not take is still to be sent from these bytes: the next reply needs others.
    if (this.isBlocked) this.#frames[turn] = { ...frame, bytes: Buffer.from(frame.bytes) };
    this.stats.tokens += batch;
    this.writtenUs.push(timeUs);
    if (this.writtenUs.length === 2 * keptWriteTimes) this.writtenUs.splice(0, keptWriteTimes);
    if (this.stats.tokens < tokens) return;
    this.#write(end);
    this.stats.isComplete = true;
    this.close();
  }

  close(): void {
    this.stats.endedUs ??= nowUs();
  }

  /** Ends a reply whose system goes on although its reader has left. */
  cut(): void {
    if (!this.isOver) this.#socket.destroy();
  }

  onDrain(): void {
    if (this.#hasBegun && !this.isOver && this.#asked.tps === 0) {
      eager.add(this);
      run();
    }
  }

  #write(bytes: Buffer): void {
    this.stats.bytes += bytes.length;
    this.#socket.write(bytes);
  }
}

/** Replies as fast as they are taken: each gets one write a turn of the loop, so that their tokens interleave. */
const eager = new Set<Reply>();
let isRunning = false;

function run(): void {
  if (isRunning || eager.size === 0) return;
  isRunning = true;
  setImmediate(() => {
    isRunning = false;
    for (const reply of eager) {
      if (!reply.isOver) reply.next();
      if (reply.isOver || reply.isBlocked) eager.delete(reply);
    }
    run();
  });
}

/** Replies at a pace: which are due in which millisecond. */
const wheel: Reply[][] = Array.from({ length: 16_384 }, () => []);
let scheduled = 0;
let doneMs = Math.floor(performance.now());
let timer: NodeJS.Timeout | undefined;

function schedule(reply: Reply, afterMs: number): void {
  if (afterMs >= wheel.length) throw new Error(`at most ${wheel.length} ms may be between two tokens`);
  if (scheduled === 0) doneMs = Math.floor(performance.now());
  putAt(reply, doneMs + afterMs);
  timer ??= setTimeout(tick, 1);
}

function putAt(reply: Reply, dueMs: number): void {
  wheel[dueMs % wheel.length]?.push(reply);
  scheduled += 1;
}

function tick(): void {
  const now = Math.floor(performance.now());
  while (doneMs < now) {
    doneMs += 1;
    const at = doneMs % wheel.length;
    const due = wheel[at] ?? [];
    if (due.length === 0) continue;
    wheel[at] = [];
    scheduled -= due.length;
    for (const reply of due) {
      if (!reply.isOver) reply.next();
      // What is too late for its next token leaves one out: to catch up would make everybody later still.
      if (!reply.isOver) putAt(reply, Math.max(doneMs + reply.intervalMs, now + 1));
    }
  }
  timer = scheduled > 0 ? setTimeout(tick, 1) : undefined;
}

// With a high-water mark of one byte `drain` says of every write that was not taken at once when it was.
const server = createServer({ noDelay: true, highWaterMark: 1 }, (socket) => {
  let text = '';
  let reply: Reply | undefined;
  socket.on('error', () => undefined);
  socket.on('close', () => reply?.close());
  socket.on('drain', () => reply?.onDrain());
  // Half of a connection that was closed is a reader that has left.
  socket.on('end', () => reply?.close());
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    const headEnd = text.indexOf('\r\n\r\n');
    if (headEnd === -1) return;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0);
    if (/\r\ntransfer-encoding:/i.test(text.slice(0, headEnd))) {
      throw new Error('a request in chunks is not understood');
    }
    if (text.length < headEnd + 4 + length) return;
    const request = text;
    text = '';
    if (request.startsWith('POST ')) {
      const model = /"model": *"([^"]*)"/.exec(request)?.[1] ?? '';
      reply = new Reply(parseModel(model), socket);
      started.push(reply);
      void reply.start().then(run);
    } else {
      answerStats(socket, request);
    }
  });
});

/**
 * `GET /stats`: all replies since the last `DELETE /stats`; with `?times` also when they were written. `DELETE` cuts
 * those that still run and forgets all.
 */
function answerStats(socket: Socket, request: string): void {
  const withTimes = request.startsWith('GET /stats?times');
  if (request.startsWith('DELETE')) {
    for (const reply of started.splice(0)) reply.cut();
  }
  const body = JSON.stringify(
    started.map(({ stats, writtenUs }) => (withTimes ? { ...stats, writtenUs } : stats)),
  );
  socket.write(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

server.listen({ port: Number(process.argv[2] ?? 0), host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
