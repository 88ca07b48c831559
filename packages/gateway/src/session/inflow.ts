import type { BodyHold } from '../request-memory.ts';
import { FrameHeads } from './frame-heads.ts';

/** What a read of a socket costs beside its bytes, and a message in it beside its own. */
const readOverheadBytes = 256;
const messageOverheadBytes = 128;

/** Bytes that a session may hold in any case, so that one that has no room for more still understands an ack. */
const freeBytes = 4096;

/** One read of the socket, and up to which message and control frame something of it is in use. */
interface Read {
  readonly bytes: number;
  readonly messages: number;
  readonly controls: number;
}

/**
 * What a session has received and not handled yet, counted as it comes, in whole reads: a message keeps all of the memory
 * that its first byte came in. More than 4 KiB need the room of a hold.
 */
export class Inflow {
  readonly #heads = new FrameHeads();
  readonly #reads: Read[] = [];
  #hold: BodyHold;
  #bytes = 0;
  #handledMessages = 0;
  #handledControls = 0;
  #partSinceMs: number | undefined;

  constructor(hold: BodyHold) {
    this.#hold = hold;
  }

  /** When the message began of which a part has come; `undefined`: there is none. */
  get partSinceMs(): number | undefined {
    return this.#partSinceMs;
  }

  /** Counts what came, before anybody handles it. Returns `false` when there is no room for it. */
  take(chunk: Uint8Array, nowMs: number): boolean {
    const heads = this.#heads;
    const { controls, messages } = heads;
    heads.take(chunk);
    const newMessages = heads.messages - messages;
    if (!heads.isInMessage) this.#partSinceMs = undefined;
    else if (newMessages > 0 || this.#partSinceMs === undefined) this.#partSinceMs = nowMs;
    const events = newMessages + heads.controls - controls;
    const bytes = chunk.length + readOverheadBytes + events * messageOverheadBytes;
    const hasRoom = this.#grow(bytes);
    if (hasRoom) {
      this.#reads.push({
        bytes,
        messages: heads.messages + Number(heads.isInMessage),
        controls: heads.controls + Number(heads.isInControl),
      });
    }
    return hasRoom;
  }

  /** A message was handled, or is held by somebody else from now on. */
  handledMessage(): void {
    this.#handledMessages += 1;
    this.#letGo();
  }

  handledControl(): void {
    this.#handledControls += 1;
    this.#letGo();
  }

  /** Takes its room from another hold from now on. Returns `false` when there is none. */
  moveTo(hold: BodyHold): boolean {
    this.#hold.release();
    this.#hold = hold;
    const heldBytes = held(this.#bytes);
    return heldBytes === 0 || hold.grow(heldBytes);
  }

  /** Nothing more is handled. */
  release(): void {
    this.#hold.release();
    this.#reads.length = 0;
    this.#bytes = 0;
  }

  #letGo(): void {
    for (
      let read = this.#reads[0];
      read !== undefined && read.messages <= this.#handledMessages && read.controls <= this.#handledControls;
      read = this.#reads[0]
    ) {
      this.#reads.shift();
      const before = held(this.#bytes);
      this.#bytes -= read.bytes;
      const after = held(this.#bytes);
      if (after < before) this.#hold.shrink(before - after);
    }
  }

  #grow(bytes: number): boolean {
    const more = held(this.#bytes + bytes) - held(this.#bytes);
    if (more > 0 && !this.#hold.grow(more)) return false;
    this.#bytes += bytes;
    return true;
  }
}

function held(bytes: number): number {
  return Math.max(0, bytes - freeBytes);
}
