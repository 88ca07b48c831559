import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http';
import type { ClientHttp2Stream } from 'node:http2';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { asGatewayError, GatewayError } from '@spillway/server/errors';
import { ownCopy } from '@spillway/server/memory/run-memory';
import { maxReadBytes } from '../connect.ts';
import {
  type ConnectionLimits,
  type Exchange,
  type Request,
  ResponseTimeoutError,
  type Sending,
  UnsentError,
} from '../exchange.ts';
import { bodyLength, ResponseError } from '../response-reader.ts';

import { asPlainFailure, cut, largeHead } from './failures.ts';
import { expectStream, type StreamBody, watchBody } from './http2-stream.ts';

/** The connection that a request is sent over. */
interface CallConnection {
  readonly isHttp2: boolean;
  readonly socketError: Error | undefined;
  /**
   * To be called with each stream that is opened. The first one tells how many requests the connection takes.
   */
  opened(stream: ClientHttp2Stream): void;
}

export interface UndiciCallOptions {
  readonly limits: ConnectionLimits;
  readonly onDefect: (error: unknown) => void;
}

/** One request from its wait for a connection to the end of its response, as undici's dispatch handler. */
export class UndiciCall implements Dispatcher.DispatchHandler, Sending {
  /** The request in undici's form. */
  readonly request: Dispatcher.DispatchOptions;
  readonly #options: UndiciCallOptions;
  /** The exchange; `undefined` once the request has ended. */
  #exchange: Exchange | undefined;
  #connection: CallConnection | undefined;
  #onOver: (() => void) | undefined;
  /** undici's controller, from the moment the request is handed to its connection. */
  #controller: Dispatcher.DispatchController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isSent = false;
  #hasHead = false;
  #isPaused = false;
  /** Bytes are being handed on. A pause or resume during that takes effect afterwards. */
  #isGiving = false;
  /** Bytes of the body that came after the pause, before undici stopped reading. */
  readonly #rest: Buffer[] = [];
  /** How the response ended, if it ended before all of `#rest` was handed on. */
  #end: { readonly error: Error | undefined } | undefined;
  #bodyBytes = 0;
  /** The length of the body by its head. */
  #length: number | 'chunked' = Infinity;
  /** Whether the last byte of an HTTP/2 stream was told for what it is. */
  #hasStreamEnded = false;
  /** Of HTTP/2. */
  #streamBody: StreamBody | undefined;

  constructor(request: Request, exchange: Exchange, options: UndiciCallOptions) {
    const { body, headers, method, path } = request;
    this.request = {
      method,
      path,
      headers,
      // An iterable drops the parts that it has yielded, while undici keeps its request for as long as the
      // answer takes. undici also never sends an iterable a second time, which the gateway would not notice.
      body: body.length === 0 ? null : (pieces(body) as unknown as Readable),
    };
    this.#exchange = exchange;
    this.#options = options;
  }

  get isOver(): boolean {
    return this.#exchange === undefined;
  }

  /** To be called before the request is handed to undici for this connection. */
  assign(connection: CallConnection, onOver: () => void): void {
    this.#connection = connection;
    this.#onOver = onOver;
  }

  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    if (!this.#isGiving) this.#controller?.pause();
  }

  resume(): void {
    if (!this.#isPaused || this.isOver) return;
    this.#isPaused = false;
    // `#give` is running, and goes on by itself.
    if (this.#isGiving) return;
    for (let chunk = this.#rest.shift(); chunk !== undefined; chunk = this.#rest.shift()) {
      this.#give(chunk);
      if (this.#isPaused || this.isOver) return;
    }
    if (this.#end === undefined) this.#readOn();
    else this.#finish(this.#end.error);
  }

  /**
   * Resumes reading in a microtask. In this turn another connection may be in undici's parser, and all its
   * parsers share one memory.
   */
  #readOn(): void {
    queueMicrotask(() => {
      if (this.#isPaused) return;
      this.#streamBody?.handOn();
      this.#controller?.resume();
    });
  }

  destroy(error: Error = new Error('the connection was closed')): void {
    if (this.isOver) return;
    const [controller, streamBody] = [this.#controller, this.#streamBody];
    this.#finish(error);
    streamBody?.cancel();
    controller?.abort(error);
  }

  /**
   * To be called when the connection has closed. A response that came whole before that is still handed on.
   */
  disconnected(): void {
    if (this.#end === undefined) this.destroy();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // The request ended while it waited. Aborting it would end the connection, too, which other requests may
    // wait for.
    if (this.isOver) throw new Error('nobody wants this request any more');
    this.#controller = controller;
    const { responseTimeoutMs } = this.#options.limits;
    this.#timer = setTimeout(() => {
      this.destroy(
        this.#hasHead ? unread() : new ResponseTimeoutError(`no response within ${responseTimeoutMs} ms`),
      );
    }, responseTimeoutMs);
    const connection = this.#connection;
    if (connection?.isHttp2 !== true) return;
    expectStream((stream) => {
      this.#streamBody = watchBody(stream, {
        isPaused: () => this.#isPaused,
        onEnd: () => (this.#hasStreamEnded = true),
      });
      connection.opened(stream);
    });
  }

  onRequestSent(): void {
    this.#isSent = true;
    if (this.#hasHead) this.#stopTimer();
    this.#tell((exchange) => exchange.onSent());
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (this.isOver) return;
    const fields = readFields(controller.rawHeaders ?? headers);
    if (headBytes(fields) > this.#options.limits.maxHeaderBytes) {
      this.destroy(largeHead(this.#options.limits.maxHeaderBytes));
      return;
    }
    let length: number | 'chunked';
    try {
      length = bodyLength(status, true, fields);
      // Status 101 answers only a request to change the protocol, which was not sent.
      if (status === 101) throw new ResponseError('The response is not valid HTTP: status 101.');
    } catch (error) {
      this.destroy(error as ResponseError);
      return;
    }
    // A status below 200 is interim: the final response follows.
    if (status < 200) return;
    this.#hasHead = true;
    // The timer goes on until the whole request is sent: a provider that answers without reading it has no
    // longer than others.
    if (this.#isSent) this.#stopTimer();
    this.#length = length;
    // A response without a body ends at once, so it is not paused.
    if (length !== 0) {
      this.#isPaused = true;
      controller.pause();
    }
    const isHttp2 = this.#connection?.isHttp2 === true;
    const isDelimited = isHttp2 || length !== Infinity;
    // HTTP/2 has no reason phrase, and undici keeps only the end of one that comes in pieces.
    const reason = STATUS_CODES[status] ?? '';
    this.#tell((exchange) =>
      exchange.onHead({ status, reason, headers: fields, isPersistent: true, isDelimited }),
    );
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isOver) return;
    this.#bodyBytes += chunk.length;
    // A chunk may come after the pause.
    if (this.#isPaused) this.#rest.push(ownCopy(chunk, 0, chunk.length));
    else this.#give(chunk);
    if (this.#isPaused) controller.pause();
  }

  onResponseEnd(): void {
    const isCut = this.#connection?.isHttp2 === true && !this.#hasStreamEnded;
    this.#ended(isCut ? cut() : undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.isOver) return;
    const isLong = typeof this.#length === 'number' && this.#bodyBytes >= this.#length;
    const { maxHeaderBytes } = this.#options.limits;
    const socketError = this.#connection?.socketError;
    this.#ended(asPlainFailure(error, { hasHead: this.#hasHead, isLong, maxHeaderBytes, socketError }));
  }

  /** Hands on a chunk in pieces as large as the built-in reader's reads, until a pause. */
  #give(chunk: Buffer): void {
    let at = 0;
    this.#isGiving = true;
    while (at < chunk.length && !this.#isPaused && !this.isOver) {
      const [start, end] = [at, Math.min(chunk.length, at + maxReadBytes)];
      at = end;
      this.#tell((exchange) => exchange.onBody(chunk, start, end));
    }
    this.#isGiving = false;
    if (at < chunk.length && !this.isOver) this.#rest.unshift(ownCopy(chunk, at, chunk.length));
  }

  #ended(error: Error | undefined): void {
    // The bytes that came before the end are handed on first.
    if (this.#rest.length > 0) this.#end = { error };
    else this.#finish(error);
  }

  #finish(error: Error | undefined): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    this.#exchange = undefined;
    this.#stopTimer();
    this.#rest.length = 0;
    const isUnsent = this.#controller === undefined;
    // undici may keep this handler for longer, so its references are dropped.
    this.#controller = undefined;
    this.#streamBody = undefined;
    try {
      if (error === undefined) exchange.onEnd();
      else exchange.onError(isUnsent && !(error instanceof UnsentError) ? new UnsentError(error) : error);
    } catch (thrown) {
      this.#options.onDefect(thrown);
    }
    this.#onOver?.();
  }

  /** Calls the exchange. An error that it throws is a defect of the gateway, and ends only this request. */
  #tell(tell: (exchange: Exchange) => void): void {
    if (this.#exchange === undefined) return;
    try {
      tell(this.#exchange);
    } catch (thrown) {
      this.destroy(asGatewayError(thrown));
    }
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The largest piece of a request's body that undici gets at once, so that little of it is buffered twice. */
const maxPieceBytes = 65_536;

function* pieces(body: readonly Buffer[]): Generator<Buffer> {
  const left = [...body];
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    for (let at = 0; at < part.length; at += maxPieceBytes) yield part.subarray(at, at + maxPieceBytes);
  }
}

/**
 * The headers in the form of the built-in reader: names in lower case, values byte for byte, and the values
 * of a repeated header joined by commas.
 */
function readFields(raw: readonly (Buffer | string)[] | IncomingHttpHeaders): IncomingHttpHeaders {
  const fields = Object.create(null) as Record<string, string>;
  const add = (name: string, value: string): void => {
    const before = fields[name];
    const trimmed = value.trimEnd();
    fields[name] = before === undefined ? trimmed : `${before}, ${trimmed}`;
  };
  if (Array.isArray(raw)) {
    const texts = raw.map((part: Buffer | string) =>
      typeof part === 'string' ? part : part.toString('latin1'),
    );
    for (let at = 0; at < texts.length; at += 2) add((texts[at] ?? '').toLowerCase(), texts[at + 1] ?? '');
    return fields;
  }
  for (const [name, value] of Object.entries(raw)) {
    if (value !== undefined) add(name, Array.isArray(value) ? value.join(', ') : value);
  }
  return fields;
}

function headBytes(fields: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(fields)) bytes += name.length + (value?.length ?? 0) + 4;
  return bytes;
}

function unread(): GatewayError {
  return new GatewayError(
    'upstream_timeout',
    'The provider answered and did not read the whole request in time (responseTimeoutMs).',
  );
}
