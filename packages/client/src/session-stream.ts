import { type ClientFrame, type DataFrame, frameOverheadBytes } from '@spillway/core/session';
import type { Limits, StreamFrame } from './connection.ts';
import { arrivalUnknown, ClientError } from './errors.ts';
import { Inbox } from './inbox.ts';
import { Ledger, type Total } from './ledger.ts';
import type { Opening, SessionStreamOptions } from './opening.ts';
import { Continuation } from './continuation.ts';
import { ReaderEvents } from './reader-events.ts';
import type { StreamEvent, StreamHead, StreamItem, StreamLag, StreamReader } from './stream-reader.ts';

/** The parts of a session that its streams need. */
export interface SessionHost {
  readonly total: Total;
  readonly connectionWindowBytes: number;
  /** Returns a random reader token that nobody can guess. */
  createToken(): string;
  send(frame: ClientFrame): void;
  /** Called when chunks were consumed or can be acknowledged now: checks whether an ack is due. */
  consumed(stream: SessionStream): void;
  /** Called when a stream has lost its number and lives on. */
  released(stream: SessionStream): void;
  /** Sends the stream's request again: the first one never arrived. */
  resend(stream: SessionStream): void;
  /** Opens the stream anew on the present connection. */
  reopen(stream: SessionStream): void;
  /** Called when something new of the stream came. */
  arrived(stream: SessionStream): void;
  /** Called when the gateway answers a stream that is read anew: the chunks that the gateway has follow. */
  answered(stream: SessionStream): void;
  /** Called when the stream does not need the connection any more. */
  left(stream: SessionStream): void;
}

/** Rule 5.5 allows 250 ms, and timers fire late. */
const maxAckDelayMs = 200;

// The bound on error bodies and error events, which no window bounds.
const maxOwnBytes = 1_048_576;

/**
 * One stream from its request to its end, over any number of connections. One file, because the meaning of each frame
 * depends on the state of the stream.
 */
export class SessionStream implements StreamReader {
  readonly response: Promise<StreamHead>;
  /** The stream's number on the present connection; 0 without one. */
  number = 0;
  /** Whether the frame that opens the stream was sent, on any connection. */
  wasSent = false;
  /**
   * Whether reopening waits until the consumer has taken the received items. Otherwise each reopening could add a
   * window of items.
   */
  isHeld = false;
  readonly #host: SessionHost;
  readonly #options: SessionStreamOptions;
  readonly #inbox = new Inbox();
  readonly #ledger: Ledger;
  readonly #events = new ReaderEvents();
  readonly #continuation: Continuation;
  readonly #head = Promise.withResolvers<StreamHead>();
  readonly #onAbort = (): void => this.#leave(this.#options.leave, this.#options.signal?.reason);
  #opening: Opening;
  #token: string;
  /**
   * The session that carried the request, and the request's number there. `undefined` where the gateway has no names
   * for sessions.
   */
  #sentOver: { readonly session: string; readonly request: number } | undefined;
  #url: string;
  #hasHead = false;
  /** Whether the gateway has answered on the present connection. There is nothing to acknowledge before its answer. */
  #isAnswered = false;
  #isResumed = false;
  #isReread = false;
  /** The `reader_stalled` error of a stream that is read anew, until something of the stream comes. */
  #stalled: ClientError | undefined;
  /**
   * The gateway's own bytes while a stalled stream is read anew: an error of the stream, or that the client came too
   * late.
   */
  #stalledWords: Uint8Array | undefined;
  #isOver = false;
  #waiting: StreamLag = { items: 0, bytes: 0 };

  constructor(host: SessionHost, options: SessionStreamOptions) {
    this.#host = host;
    this.#options = options;
    this.#token = host.createToken();
    this.#opening = options.opening;
    this.#ledger = new Ledger(host.total, options.windowBytes);
    this.response = this.#head.promise;
    // A consumer that only reads chunks gets the error there. Here the rejection would be unhandled.
    this.response.catch(() => {});
    const { opening } = options;
    this.#url = opening.type === 'read' ? opening.url : '';
    this.#continuation = new Continuation(opening.type === 'read' ? opening.from : 0);
    this.#inbox.takenTo = this.offset;
    options.signal?.addEventListener('abort', this.#onAbort);
    if (options.signal?.aborted === true) this.#onAbort();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get url(): string {
    return this.#url;
  }

  get offset(): number {
    return this.#continuation.next ?? 0;
  }

  get credit(): number {
    return Math.max(0, this.#options.windowBytes - this.#ledger.unackedBytes);
  }

  get lag(): StreamLag {
    const { consumedBytes, items, unackedBytes } = this.#ledger;
    return {
      items: this.#waiting.items + items,
      bytes: this.#waiting.bytes + unackedBytes - consumedBytes - items * frameOverheadBytes,
    };
  }

  /**
   * How long consumed chunks may stay unacknowledged. Only the gateway knows how much of a window in time they fill.
   */
  get ackDelayMs(): number {
    return Math.min(maxAckDelayMs, (this.#options.windowMs ?? Infinity) / 4);
  }

  /** Whether so much is consumed that an ack should be sent now, without a delay. */
  get isAckDue(): boolean {
    const { windowBytes } = this.#options;
    const bytes = this.#ledger.consumedBytes;
    if (bytes * 2 >= windowBytes) return true;
    // A consumer that waits while chunks wait in the gateway must not wait for an ack.
    const isDry = this.#inbox.isWaiting && this.#inbox.isEmpty;
    return isDry && bytes > 0 && (bytes * 4 >= windowBytes || this.#waiting.items > 0);
  }

  next(): Promise<IteratorResult<StreamItem, undefined>> {
    if (this.#options.autoAck) this.#ledger.consume(this.#inbox.takenTo);
    const result = this.#inbox.next();
    if (this.isHeld && this.#inbox.isEmpty) {
      this.isHeld = false;
      this.#host.reopen(this);
    } else if (!this.#isOver) {
      this.#host.consumed(this);
    }
    this.#unlistenIfTaken();
    return result;
  }

  [Symbol.asyncIterator](): AsyncIterator<StreamItem, undefined> {
    return {
      next: () => this.next(),
      return: () => {
        this.endAsAsked();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  ack(offset: number): void {
    const { takenTo } = this.#inbox;
    if (!(offset <= takenTo)) {
      throw new ClientError('bad_ack', `ack: expected an offset up to ${takenTo}, got ${offset}.`, takenTo);
    }
    this.#ledger.consume(offset);
    if (!this.#isOver) this.#host.consumed(this);
  }

  cancel(): void {
    this.#leave('cancel');
  }

  detach(): void {
    this.#leave('detach');
  }

  /** Stops the stream as its `leave` option says. */
  endAsAsked(): void {
    this.#leave(this.#options.leave);
  }

  onEvent(listener: (event: StreamEvent) => void): () => void {
    return this.#events.add(listener);
  }

  /** Gives the stream a number on the present connection. Returns the frame that opens or resumes the stream there. */
  bind(number: number, { ms, session }: Pick<Limits, 'ms' | 'session'>): ClientFrame {
    this.number = number;
    this.#isAnswered = false;
    this.#isResumed = this.wasSent;
    this.#continuation.resume();
    // Consumed chunks need no ack of their own: `acked` stands for them, and for acks that were lost on the way.
    this.#ledger.takeAck();
    this.#updateStall();
    const { headers, keyHeaders, windowBytes, windowMs } = this.#options;
    const ids = { stream: number, reader: this.#token };
    if (!this.wasSent) {
      const isRequest = this.#opening.type === 'request';
      this.#sentOver = isRequest && session !== undefined ? { session, request: number } : undefined;
      // Only sent if the gateway knows the field: older gateways end a session for an unknown field.
      return { ...this.#opening, ...ids, windowBytes, ...(ms === true && { windowMs }), headers };
    }
    const acked = this.#ledger.ackedTo ?? 0;
    const resume = { type: 'resume', ...ids, headers: keyHeaders, offset: this.offset, acked } as const;
    // Older gateways have no name for a session, and know none of these fields.
    if (session === undefined) return resume;
    return { ...resume, ...(!this.#hasHead && this.#sentOver), more: true };
  }

  /** Called when the connection is lost. */
  unbind(): void {
    this.number = 0;
    this.#updateStall();
  }

  flushAck(): void {
    if (this.number === 0 || !this.#isAnswered) return;
    const offset = this.#ledger.takeAck();
    if (offset === undefined) return;
    this.#host.send({ type: 'ack', stream: this.number, offset });
    this.#updateStall();
  }

  onFrame(frame: StreamFrame): void {
    switch (frame.type) {
      case 'response':
        this.#onResponse(frame);
        break;
      case 'gap':
        this.#onGap(frame);
        break;
      case 'lag':
        this.#waiting = frame;
        this.#events.emit({ type: 'lag', lag: this.lag });
        this.#host.consumed(this);
        break;
      case 'end':
        if (this.#stalled !== undefined && frame.state === 'cancelled' && frame.reason === undefined) {
          this.#gone('The stream was cancelled.');
          break;
        }
        if (this.#stalledWords !== undefined) this.#onOwnWords(this.#stalledWords);
        this.#isOverAfter('detach', {
          type: 'end',
          state: frame.state,
          ...(frame.reason && { reason: frame.reason }),
        });
        this.#inbox.complete();
        this.#unlistenIfTaken();
        break;
      case 'error':
        this.#onError(frame);
        break;
    }
  }

  onData({ bytes, from, to }: DataFrame): void {
    const { connectionWindowBytes } = this.#host;
    if (!this.#hasHead) {
      this.#refuse('Data came before the head of the answer.');
    } else if (from === to) {
      if (this.#stalled === undefined) this.#onOwnWords(bytes);
      else this.#stalledWords = bytes;
    } else if (!this.#ledger.allows(bytes.length, connectionWindowBytes)) {
      this.#refuse(`${bytes.length} bytes are more than the windows allow.`);
    } else if (this.#advance(from, to)) {
      this.#ledger.receive(to, bytes.length);
      this.#inbox.push({ type: 'chunk', from, to, bytes });
      this.#updateStall();
    }
  }

  /** Fails the stream. The consumer gets the error after the items that were received before. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOverAfter('detach', { type: 'end', error });
    this.#head.reject(error);
    this.#inbox.fail(error);
    this.#unlistenIfTaken();
  }

  #onResponse({ headers, status, url }: Extract<StreamFrame, { type: 'response' }>): void {
    this.#isAnswered = true;
    if (this.#isReread) {
      this.#isReread = false;
      if (status !== 200) this.#gone(`The gateway answers with the status ${status}.`);
      else this.#host.answered(this);
    } else if (status < 200 || status > 599) {
      this.#refuse(`The status of the answer is ${status}.`);
    } else if (!this.#hasHead) {
      this.#hasHead = true;
      this.#host.arrived(this);
      if (url !== '') this.#url = url;
      try {
        this.#head.resolve({ status, headers: new Headers(headers), url: this.#url });
      } catch {
        this.#refuse('The head of the answer has no valid headers.');
      }
    }
    if (!this.#isOver) this.#host.consumed(this);
  }

  #onOwnWords(bytes: Uint8Array): void {
    const rest = this.#continuation.advanceOwn(bytes);
    if (rest.length === 0) return;
    this.#host.arrived(this);
    if (this.#inbox.ownBytes + rest.length > maxOwnBytes) {
      this.#refuse(`More than ${maxOwnBytes} bytes came that nothing was granted for.`);
      return;
    }
    this.#inbox.push({ type: 'chunk', from: this.offset, to: this.offset, bytes: rest });
  }

  #onGap({ bytes, from, reason, to }: Extract<StreamFrame, { type: 'gap' }>): void {
    if (!this.#advance(from, to)) return;
    const gap = { type: 'gap', from, to, bytes, reason } as const;
    this.#inbox.push(gap);
    this.#events.emit({ type: 'gap', gap });
  }

  #advance(from: number, to: number): boolean {
    if (this.#continuation.advance(from, to)) {
      this.#stalled = undefined;
      this.#host.arrived(this);
      return true;
    }
    this.#refuse(`The stream goes on at ${this.offset}, and what came is from ${from} to ${to}.`);
    return false;
  }

  #onError({ code, message, offset }: Extract<StreamFrame, { type: 'error' }>): void {
    const error = new ClientError(code, message, offset);
    if (this.#isResumed && (code === 'not_arrived' || code === 'unknown_reader')) {
      this.#onUnknownReader(code === 'not_arrived');
    } else if (this.#stalled !== undefined && code !== 'reader_disconnected') {
      this.#gone(message, error);
    } else if (this.#isReread && code === 'not_found') {
      this.#gone('The gateway does not have the stream any more, or was started again.');
    } else if (code === 'reader_stalled' && this.#hasHead && this.#url !== '') {
      // The consumer took nothing for too long. The stream goes on at its offset when the consumer asks for more.
      this.#stalled = error;
      this.#release();
      this.#readOn();
    } else {
      this.fail(error);
    }
  }

  /**
   * Rule 5.9: the request never arrived (`isMissing`), or its arrival is unknown, or the connection came back too late.
   */
  #onUnknownReader(isMissing: boolean): void {
    this.#release();
    if (!this.#hasHead) {
      // A read may be repeated, because it changes nothing.
      if (isMissing || this.#opening.type === 'read') this.#host.resend(this);
      else this.fail(arrivalUnknown());
      return;
    }
    if (this.#url === '') {
      this.#gone('The answer cannot be read again.');
      return;
    }
    this.#readOn();
  }

  /** Forgets the gateway's reader, which does not exist any more. */
  #release(): void {
    this.#host.released(this);
    // The gateway does not count the frames of that reader any more.
    this.#ledger.clear();
    this.wasSent = false;
    this.number = 0;
    // After a stall the gateway knows the reader by its token. In other cases the old token may still be in use, with
    // another key.
    if (this.#stalled === undefined) this.#token = this.#host.createToken();
  }

  /** Reads the rest as a new reader, by the stream's URL. */
  #readOn(): void {
    const { opening } = this.#options;
    const asked =
      opening.type === 'read' ? opening : { type: 'read' as const, overflow: 'coalesce' as const };
    this.#opening = { ...asked, url: this.#url, from: this.#continuation.next ?? 'now' };
    this.#isReread = true;
    // After a stall, the stream is opened anew only when the consumer waits: otherwise it would stall again.
    if (this.#inbox.isEmpty && (this.#stalled === undefined || this.#inbox.isWaiting)) {
      this.#host.reopen(this);
    } else {
      this.isHeld = true;
    }
  }

  /** Fails the stream: the rest is not kept by the gateway any more. */
  #gone(why: string, cause?: ClientError): void {
    const { code, message } = this.#stalled ?? {
      code: 'history_gone',
      message: 'The connection came back too late.',
    };
    const lost = `${message} What follows offset ${this.offset} is gone: ${why}`;
    this.fail(new ClientError(code, lost, this.offset, { cause }));
  }

  #refuse(message: string): void {
    this.fail(new ClientError('protocol_error', message, this.offset));
  }

  /** A stream that is over and whose items were all taken cannot be aborted, so its listener is removed. */
  #unlistenIfTaken(): void {
    if (this.#isOver && this.#inbox.isEmpty)
      this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }

  #leave(how: 'cancel' | 'detach', error?: unknown): void {
    const reason = error ?? new DOMException('The reader has left.', 'AbortError');
    if (!this.#isOver) this.#isOverAfter(how, { type: 'end', error: reason });
    this.#head.reject(reason);
    this.#inbox.discard();
    if (error === undefined) this.#inbox.complete();
    else this.#inbox.fail(error);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }

  #isOverAfter(how: 'cancel' | 'detach', event: StreamEvent): void {
    if (this.number !== 0) this.#host.send({ type: how, stream: this.number });
    this.#isOver = true;
    this.isHeld = false;
    this.#ledger.clear();
    this.#waiting = { items: 0, bytes: 0 };
    this.#host.left(this);
    this.number = 0;
    this.#events.emit(event);
  }

  #updateStall(): void {
    if (this.number === 0) this.#events.stalled('connection_lost');
    else this.#events.stalled(this.credit <= frameOverheadBytes ? 'window_full' : undefined);
  }
}
