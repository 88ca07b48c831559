import { connect, type Socket } from 'node:net';
import { ReplyScanner } from './reply-scanner.ts';
import { maxTokens, nowUs } from './token.ts';

/** What a reader asks for, and how. */
export interface ReaderOptions {
  /** The address of the system under test. */
  readonly url: string;
  /** Behaviour of the simulated provider, as its model's name has it. */
  readonly model: string;
  /** Tokens that make the reply complete. Default: it never is. */
  readonly tokens?: number;
  /** What the system wants to have with every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What is in front of a token's text in the reply's events. */
  readonly textKey?: string;
  /** Default: true. A reader that does not read never takes a byte from its socket. */
  readonly reads?: boolean;
  readonly onToken?: (ageUs: number) => void;
}

/** All readers are on one thread and scan what came at once, so that one buffer does for all. */
const readBuffer = Buffer.allocUnsafe(262_144);

/** One streaming request on a socket of its own. It checks every token that comes. */
export class Reader {
  readonly socket: Socket;
  /** Resolves when the whole reply has come; rejects when anything else does. */
  readonly done: Promise<void>;
  /** Resolves with the first token. */
  readonly first: Promise<void>;
  readonly startedUs = nowUs();
  firstUs: number | undefined;
  failure: Error | undefined;
  readonly #scanner: ReplyScanner;
  #hasLeft = false;

  constructor(options: ReaderOptions) {
    const { headers = {}, model, onToken, reads = true, textKey = '"content":"', tokens, url } = options;
    const done = Promise.withResolvers<void>();
    const first = Promise.withResolvers<void>();
    this.done = done.promise;
    this.first = first.promise;
    // Not everybody who opens a reader waits for both.
    this.done.catch(() => undefined);
    this.first.catch(() => undefined);
    const fail = (error: Error): void => {
      this.failure ??= new Error(`${model}: ${error.message}`, { cause: error });
      done.reject(this.failure);
      first.reject(this.failure);
    };
    const scanned = {
      onDone: done.resolve,
      onToken: (ageUs: number): void => {
        if (this.firstUs === undefined) {
          this.firstUs = nowUs();
          first.resolve();
        }
        onToken?.(ageUs);
      },
    };
    this.#scanner = new ReplyScanner(textKey, tokens ?? maxTokens, scanned);
    const { hostname, port } = new URL(url);
    const read = (count: number): boolean => {
      try {
        this.#scanner.push(readBuffer.subarray(0, count), nowUs());
      } catch (error) {
        fail(error as Error);
        this.socket.destroy();
      }
      return true;
    };
    const onread = { buffer: readBuffer, callback: read };
    this.socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      ...(reads ? { onread } : {}),
    });
    if (!reads) this.socket.pause();
    this.socket.on('error', fail);
    this.socket.on('close', () => {
      if (!this.#hasLeft) fail(new Error(`the connection was closed after ${this.tokens} tokens`));
    });
    const body = JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'Hello' }] });
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n` +
        `authorization: Bearer key\r\n${lines.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }

  /** Tokens so far. */
  get tokens(): number {
    return this.#scanner.tokens;
  }

  /** Bytes of the reply's body so far. */
  get bodyBytes(): number {
    return this.#scanner.bodyBytes;
  }

  /** Closes the connection, and returns when that was. */
  leave(): number {
    this.#hasLeft = true;
    const leftUs = nowUs();
    this.socket.destroy();
    return leftUs;
  }
}
