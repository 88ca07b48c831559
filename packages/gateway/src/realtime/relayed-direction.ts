import type { Clock, Timer } from '@spillway/core/clock';
import type { BodyHold } from '@spillway/server/memory/request-memory';
import { type LinkState, takenBytes } from '@spillway/server/sink/link';
import type { RawData } from 'ws';
import type { DirectionFigures } from '../telemetry/realtime-end.ts';
import type { RealtimeSocket } from './realtime-socket.ts';

/** One direction of a conversation. */
export interface RelayedDirectionOptions {
  readonly from: RealtimeSocket;
  readonly to: RealtimeSocket;
  /** What the other side's TCP has of `to`; `undefined`: not known here. */
  readonly readLink: (() => LinkState | undefined) | undefined;
  /** The bytes that may wait in this process before nothing more is read. */
  readonly windowBytes: number;
  /** Room for what is larger than the window: it is in parts, or one message. */
  readonly hold: Pick<BodyHold, 'grow' | 'shrink'>;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** There is no room for what has come. */
  readonly onNoRoom: () => void;
  /**
   * A message is about to be sent. The bytes are the receiver's only until this returns. What it returns says whether the
   * message may go; `undefined`: it may. Until it may, it waits here, and those behind it.
   */
  readonly onMessage: (bytes: Buffer) => (() => boolean) | undefined;
  /** What becomes of a message of text before it is sent. Default: it is sent as it came. */
  readonly edit?: ((message: Buffer) => Buffer) | undefined;
  /** Whether nothing more may be read, whatever waits here: somebody who must get all of it has no room. */
  readonly isHeld: () => boolean;
}

/**
 * The bytes that may be on their way to a peer, those that the kernel holds for it included: 4 s of what a model says, at
 * 24 kHz in base64. A link of 200 ms that is never let run empty carries over a megabyte a second with it.
 */
const maxOnTheWayBytes = 262_144;
/** The kernel is asked what it holds after so many bytes. It takes a microsecond. */
const askEveryBytes = 32_768;
/** A full direction is looked at so often. Half of its bound has to be free before it is read again. */
const lookEveryMs = 20;

/**
 * One direction of a conversation: whole messages, as they came, in order. When what waits for the one side is more than a
 * window, the other one's socket is not read until half of it is free, so that the other one's own sending stops, in
 * time. What waits ≤ the window + one read + one message, and beyond the window it has room of `hold`.
 */
export class RelayedDirection {
  readonly #options: RelayedDirectionOptions;
  #messages = 0;
  #bytes = 0;
  #pauses = 0;
  #pausedMs = 0;
  #pausedAtMs: number | undefined;
  #timer: Timer | undefined;
  /** Bytes of a message that is not whole. At most one read too few: a read may end a message and begin the next. */
  #partBytes = 0;
  #heldBytes = 0;
  #kernelBytes = 0;
  #sinceAskedBytes = 0;
  /** Messages that may not go yet. */
  readonly #kept: { readonly bytes: Buffer; readonly isBinary: boolean; readonly mayGo: () => boolean }[] =
    [];
  #keptBytes = 0;
  #onEmpty: (() => void) | undefined;
  #isOver = false;

  constructor(options: RelayedDirectionOptions) {
    this.#options = options;
    const { from } = options;
    // Before the WebSocket has read it: what ends a message is counted first, and then no more.
    from.socket.prependListener('data', this.#onData);
    from.webSocket.on('message', this.#onMessage);
  }

  get figures(): DirectionFigures {
    const { clock } = this.#options;
    const sinceMs = this.#pausedAtMs === undefined ? 0 : clock.nowMs() - this.#pausedAtMs;
    return {
      messages: this.#messages,
      bytes: this.#bytes,
      pauses: this.#pauses,
      pausedMs: this.#pausedMs + sinceMs,
    };
  }

  /** What waits in this process and in its kernel. */
  get waitingBytes(): number {
    this.#askKernel();
    return this.#ownBytes + this.#kernelBytes;
  }

  /** What has left: it grows as long as the other side takes something. */
  get leftBytes(): number {
    const { readLink, to } = this.#options;
    return readLink?.()?.ackedBytes ?? takenBytes(to.socket);
  }

  /** Sends what waited until it may go, as far as it may now. */
  release(): void {
    for (let [first] = this.#kept; first?.mayGo() === true; [first] = this.#kept) {
      this.#kept.shift();
      this.#keptBytes -= first.bytes.length;
      this.#send(first.bytes, first.isBinary);
    }
    if (this.#kept.length > 0) return;
    this.#onEmpty?.();
    this.#onEmpty = undefined;
  }

  /** Calls back when nothing waits any more until it may go, perhaps at once. */
  whenReleased(callback: () => void): void {
    if (this.#kept.length === 0) callback();
    else this.#onEmpty = callback;
  }

  /** Relays nothing more. What was sent goes on its way. Safe to call twice. */
  close(): void {
    if (this.#isOver) return;
    const { pausedMs } = this.figures;
    this.#pausedMs = pausedMs;
    this.#pausedAtMs = undefined;
    this.#isOver = true;
    this.#timer?.stop();
    const { hold, from } = this.#options;
    from.socket.off('data', this.#onData);
    from.webSocket.off('message', this.#onMessage);
    hold.shrink(this.#heldBytes);
    this.#heldBytes = 0;
  }

  get #ownBytes(): number {
    return this.#options.to.webSocket.bufferedAmount + this.#keptBytes;
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#partBytes += bytes.length;
    this.#account();
  };

  readonly #onMessage = (data: RawData, isBinary: boolean): void => {
    const bytes = data as Buffer;
    const { edit, isHeld, onMessage } = this.#options;
    this.#partBytes = 0;
    this.#messages += 1;
    this.#bytes += bytes.length;
    this.#sinceAskedBytes += bytes.length;
    const mayGo = onMessage(bytes) ?? always;
    if (this.#isOver) return;
    const sent = isBinary || edit === undefined ? bytes : edit(bytes);
    if (this.#kept.length === 0 && mayGo()) this.#send(sent, isBinary);
    else {
      this.#kept.push({ bytes: sent, isBinary, mayGo });
      this.#keptBytes += sent.length;
    }
    this.#account();
    if (this.#sinceAskedBytes >= askEveryBytes) this.#askKernel();
    if (this.#pausedAtMs === undefined && (isHeld() || this.#isBeyond(1))) this.#pause();
  };

  readonly #onSent = (): void => {
    if (!this.#isOver) this.#account();
  };

  #askKernel(): void {
    const { readLink, to } = this.#options;
    this.#sinceAskedBytes = 0;
    const link = readLink?.();
    this.#kernelBytes = link === undefined ? 0 : Math.max(0, takenBytes(to.socket) - link.ackedBytes);
  }

  /** Whether more waits than that part of the bounds. */
  #isBeyond(part: number): boolean {
    const { windowBytes } = this.#options;
    const own = this.#ownBytes;
    return own > part * windowBytes || own + this.#kernelBytes > part * maxOnTheWayBytes;
  }

  #pause(): void {
    const { clock, from } = this.#options;
    this.#pauses += 1;
    this.#pausedAtMs = clock.nowMs();
    from.webSocket.pause();
    this.#lookLater();
  }

  #send(bytes: Buffer, isBinary: boolean): void {
    this.#options.to.webSocket.send(bytes, { binary: isBinary }, this.#onSent);
  }

  #lookLater(): void {
    const { clock, from, isHeld } = this.#options;
    this.#timer = clock.after(lookEveryMs, () => {
      this.#askKernel();
      if (isHeld() || this.#isBeyond(1 / 2)) {
        this.#lookLater();
        return;
      }
      this.#pausedMs = this.figures.pausedMs;
      this.#pausedAtMs = undefined;
      from.webSocket.resume();
    });
  }

  /** Takes room for what is beyond the window, and gives it back. */
  #account(): void {
    const { hold, onNoRoom, windowBytes } = this.#options;
    const bytes = Math.max(0, this.#partBytes + this.#ownBytes - windowBytes);
    const more = bytes - this.#heldBytes;
    if (more > 0 && !hold.grow(more)) {
      onNoRoom();
      return;
    }
    if (more < 0) hold.shrink(-more);
    this.#heldBytes = bytes;
  }
}

function always(): boolean {
  return true;
}
