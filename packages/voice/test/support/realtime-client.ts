import { WebSocket } from 'ws';
import { until } from '../../../core/test/support/until.ts';

/** An event of the API, as it came. */
export type RawEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

/** A client that checks nothing and keeps what came. */
export class RealtimeClient {
  readonly socket: WebSocket;
  readonly events: RawEvent[] = [];
  closeCode: number | undefined;

  constructor(
    url: string,
    options: ConstructorParameters<typeof WebSocket>[2] = {},
    protocols: string[] = [],
  ) {
    this.socket = new WebSocket(url, protocols, options);
    this.socket.on('message', (data) =>
      this.events.push(JSON.parse((data as Buffer).toString()) as RawEvent),
    );
    this.socket.on('close', (code) => {
      this.closeCode = code;
    });
    this.socket.on('error', () => undefined);
  }

  send(event: Readonly<Record<string, unknown>>): void {
    this.socket.send(JSON.stringify(event));
  }

  /** Sends audio in pieces of 20 ms of telephone audio. */
  speak(audio: Uint8Array): void {
    for (let at = 0; at < audio.byteLength; at += 160)
      this.send({
        type: 'input_audio_buffer.append',
        audio: Buffer.from(audio.subarray(at, at + 160)).toString('base64'),
      });
  }

  /** The events of a type that have come. */
  of(type: string): RawEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** Resolves with the n-th event of a type. */
  async next(type: string, count = 1): Promise<RawEvent> {
    await until(
      () => this.of(type).length >= count,
      () => `${type}: got ${this.events.map((one) => one.type).join(', ')}`,
    );
    const event = this.of(type)[count - 1];
    if (event === undefined) throw new TypeError(type);
    return event;
  }

  /** Sends an event that has to be refused, and resolves with the error. */
  async refused(event: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
    const count = this.of('error').length + 1;
    this.send(event);
    const { error } = await this.next('error', count);
    return error as Readonly<Record<string, unknown>>;
  }
}

/** So many milliseconds of telephone silence. */
export function quiet(ms: number): Uint8Array {
  return new Uint8Array(ms * 8).fill(0xff);
}
