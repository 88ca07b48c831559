import type { Clock, Timer } from '@spillway/core/clock';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import type { WebSocket } from 'ws';
import type {
  CallEnd,
  CallRecord,
  CarrierRefusal,
  ClearedAudio,
  PlayedAudio,
  ReturnedMark,
  SaidAudio,
} from './call-record.ts';
import { CallerVoice, frameMs } from './caller-voice.ts';
import { Link, type LinkFaults } from './link.ts';
import { Playback } from './playback.ts';
import { readCommand } from './stream-command.ts';

/** Who calls, and how. */
export interface SimulatedCallOptions {
  readonly accountId: string;
  readonly callId: string;
  readonly streamId: string;
  readonly parameters: Readonly<Record<string, string>>;
  /** What the human says at once. */
  readonly audio: Uint8Array;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly link: LinkFaults;
  readonly maxDurationMs: number;
}

/** More than this of the caller's audio does not wait for a bridge that reads too slowly: 13 s. */
const maxUnsentBytes = 262_144;

interface Watch {
  readonly isDue: () => boolean;
  readonly untilMs: number;
  readonly resolve: (isDue: boolean) => void;
}

/** A call that `placeCall` has placed. Times are in milliseconds since it began, on its clock. */
export class SimulatedCall {
  readonly #socket: WebSocket;
  readonly #options: SimulatedCallOptions;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #startMs: number;
  readonly #voice = new CallerVoice();
  readonly #playback: Playback;
  readonly #out: Link;
  readonly #in: Link;
  /** Draws which frames are lost. */
  readonly #loss: VirtualClock;
  readonly #clears: ClearedAudio[] = [];
  readonly #refusals: CarrierRefusal[] = [];
  readonly #watches = new Set<Watch>();
  readonly #over = Promise.withResolvers<CallRecord>();
  #end: Omit<CallEnd, 'code' | 'reason'> | undefined;
  #played: readonly PlayedAudio[] = [];
  #frames = 0;
  #sequence = 0;
  #chunk = 0;
  #lostFrames = 0;
  #heardBeforeMs = 0;
  #timer: Timer | undefined;

  /** Begins the call. Called by `placeCall`. */
  constructor(socket: WebSocket, options: SimulatedCallOptions) {
    const { accountId, audio, callId, clock, link, parameters, streamId } = options;
    this.#socket = socket;
    this.#options = options;
    this.#clock = clock;
    this.#startMs = clock.nowMs();
    this.#out = new Link(clock, link, 0);
    this.#in = new Link(clock, link, 1);
    this.#loss = new VirtualClock({ seed: (link.seed ?? 1) + 2 });
    this.#playback = new Playback({
      clock,
      nowMs: () => this.nowMs,
      onMark: (name) => this.#send({ event: 'mark', mark: { name } }),
    });
    socket.on('message', (data, isBinary) => this.#in.pass(() => this.#take(data as Buffer, isBinary)));
    // What is wrong with the connection is told by its close code.
    socket.on('error', () => undefined);
    socket.on('close', (code, reason) => this.#closed(code, reason.toString()));
    this.#out.pass(() => this.#write({ event: 'connected', protocol: 'Call', version: '1.0.0' }));
    this.#send({
      event: 'start',
      start: {
        accountSid: accountId,
        streamSid: streamId,
        callSid: callId,
        tracks: ['inbound'],
        mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
        customParameters: parameters,
      },
    });
    socket.resume();
    this.#voice.say(audio);
    this.#tick();
  }

  /** The id of the call, as its carrier tells it. */
  get callId(): string {
    return this.#options.callId;
  }

  /** The id that the start message has, and all messages to this call have to have. */
  get streamId(): string {
    return this.#options.streamId;
  }

  /** How long the call lasts. */
  get nowMs(): number {
    return this.#clock.nowMs() - this.#startMs;
  }

  /** Resolves with the truth about the call when its socket is closed. Never rejects. */
  get ended(): Promise<CallRecord> {
    return this.#over.promise;
  }

  /** What was heard since `say` was last called, or since the call began, in milliseconds; silence does not count. */
  get heardMs(): number {
    return this.#playback.audibleMs() - this.#heardBeforeMs;
  }

  /** What waits to be played, in milliseconds. */
  get bufferedMs(): number {
    return this.#playback.bufferedMs;
  }

  /** Whether the call has ended: nothing is said or heard any more, and its socket is closed or closing. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** What the human has begun to say, in order. */
  get said(): readonly SaidAudio[] {
    return this.#voice.said;
  }

  /** What was heard until now, in order. */
  get played(): readonly PlayedAudio[] {
    return this.#end === undefined ? this.#playback.played() : this.#played;
  }

  /** The marks that went back until now, in order. */
  get marks(): readonly ReturnedMark[] {
    return this.#playback.marks;
  }

  /** What the other side's `clear`s have dropped until now, in order. */
  get clears(): readonly ClearedAudio[] {
    return this.#clears;
  }

  /** Whether all was said. */
  get isQuiet(): boolean {
    return this.#voice.isQuiet;
  }

  /**
   * What was heard between two moments of the call, as µ-law with 8,000 samples a second: for somebody who listens in. Silence
   * where nothing was, and beyond now or the call's end. Stretches of whole milliseconds join without a seam.
   */
  heardBetween(fromMs: number, toMs: number): Uint8Array<ArrayBuffer> {
    return this.#playback.heardBetween(fromMs, toMs, this.#end?.atMs ?? this.nowMs);
  }

  /** Says a clip, behind those that are not said yet: µ-law, 8,000 samples a second. */
  say(clip: Uint8Array): void {
    this.#voice.say(clip);
    this.#heardBeforeMs = this.#playback.audibleMs();
  }

  /** Presses a key: `0` to `9`, `*`, `#`, `A` to `D`. */
  press(digit: string): void {
    this.#send({ event: 'dtmf', dtmf: { track: 'inbound_track', digit } });
  }

  /** Hangs up. `ended` resolves when the other side has closed, too. Safe to call twice. */
  hangUp(): void {
    this.#stop('hung_up');
  }

  /** Resolves with `true` when all was said, and with `false` when the call ends first. */
  whenSaid(): Promise<boolean> {
    return this.when(() => this.#voice.isQuiet, Infinity);
  }

  /**
   * Resolves with `true` when `heardMs` is so much, and with `false` when the call ends or so much time is over first.
   */
  whenHeard(ms: number, withinMs: number): Promise<boolean> {
    return this.when(() => this.heardMs >= ms, withinMs);
  }

  /**
   * Resolves with `true` when nothing was heard for so long, and with `false` when the call ends or so much time is over first.
   */
  whenQuiet(ms: number, withinMs: number): Promise<boolean> {
    const fromMs = this.nowMs;
    return this.when(
      () => this.nowMs - Math.max(fromMs, this.#playback.lastAudibleMs() ?? 0) >= ms,
      withinMs,
    );
  }

  /**
   * Resolves with `true` when a condition holds, which is looked at every 20 ms, and with `false` when the call ends or so much
   * time is over first.
   */
  when(isDue: () => boolean, withinMs: number): Promise<boolean> {
    if (this.#end !== undefined) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#watches.add({ isDue, untilMs: this.nowMs + withinMs, resolve });
    return promise;
  }

  /** Resolves when so much time is over, or the call ends. */
  async wait(ms: number): Promise<void> {
    await this.when(() => false, ms);
  }

  /** Sends what has become due, and looks for what was waited for. Late timers send several frames: the sum is exact. */
  #tick(): void {
    const { maxDurationMs } = this.#options;
    // What becomes due meanwhile is for the next time: a clock that is faster than this machine would never let it end.
    const untilMs = Math.min(this.nowMs, maxDurationMs);
    while (this.#frames * frameMs <= untilMs && this.#end === undefined) this.#sendFrame();
    for (const watch of this.#watches) {
      if (watch.isDue()) this.#settle(watch, true);
      else if (this.nowMs >= watch.untilMs) this.#settle(watch, false);
    }
    if (this.nowMs >= maxDurationMs) this.hangUp();
    if (this.#end !== undefined) return;
    this.#timer = this.#clock.after(Math.max(0, this.#frames * frameMs - this.nowMs), () => this.#tick());
  }

  #sendFrame(): void {
    const timestampMs = this.#frames * frameMs;
    this.#frames += 1;
    const frame = this.#voice.frame(timestampMs);
    if (this.#loss.random() < (this.#options.link.lossRate ?? 0)) {
      this.#lostFrames += 1;
      return;
    }
    if (this.#socket.bufferedAmount > maxUnsentBytes) {
      this.#lostFrames += 1;
      this.#note(31_930, 'The bridge reads too slowly: audio of the caller was dropped.');
      return;
    }
    this.#chunk += 1;
    this.#send({
      event: 'media',
      media: {
        track: 'inbound',
        chunk: String(this.#chunk),
        timestamp: String(timestampMs),
        payload: Buffer.from(frame).toString('base64'),
      },
    });
  }

  #take(data: Buffer, isBinary: boolean): void {
    if (this.#end !== undefined) return;
    const command = readCommand(data, isBinary, this.#options.streamId);
    switch (command.kind) {
      case 'media':
        if (!this.#playback.add(command.audio))
          this.#refuse(31_931, 'More than ten minutes wait to be played.');
        break;
      case 'mark':
        this.#playback.mark(command.name);
        break;
      case 'clear':
        this.#clears.push(this.#playback.clear());
        break;
      case 'refused':
        this.#refuse(command.code, command.message);
        break;
    }
  }

  #refuse(code: CarrierRefusal['code'], message: string): void {
    this.#note(code, message);
    this.#stop('refused');
  }

  /** Notes what a carrier refuses: once of each kind, as Twilio does. */
  #note(code: CarrierRefusal['code'], message: string): void {
    if (this.#refusals.some((refusal) => refusal.code === code)) return;
    this.#refusals.push({ atMs: this.nowMs, code, message });
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    const { streamId } = this.#options;
    this.#sequence += 1;
    const whole = { ...message, sequenceNumber: String(this.#sequence), streamSid: streamId };
    this.#out.pass(() => this.#write(whole));
  }

  #write(message: object): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Ends the call from here: says so, and closes. */
  #stop(why: CallEnd['why']): void {
    if (this.#end !== undefined) return;
    const { accountId, callId } = this.#options;
    this.#send({ event: 'stop', stop: { accountSid: accountId, callSid: callId } });
    this.#finish(why);
    // Behind what is still on its way.
    this.#out.pass(() => this.#socket.close(1000));
  }

  #closed(code: number, reason: string): void {
    const end = this.#end ?? this.#finish('closed');
    this.#timer?.stop();
    this.#in.stop();
    this.#out.stop();
    this.#socket.removeAllListeners();
    this.#over.resolve({
      callId: this.#options.callId,
      streamId: this.#options.streamId,
      said: this.#voice.said,
      played: this.#played,
      marks: this.#playback.marks,
      clears: this.#clears,
      lostFrames: this.#lostFrames,
      maxBufferedMs: this.#playback.maxBufferedMs,
      refusals: this.#refusals,
      end: { ...end, code, reason },
    });
  }

  /** Nothing is heard any more, and nothing goes back. */
  #finish(why: CallEnd['why']): Omit<CallEnd, 'code' | 'reason'> {
    this.#end = { atMs: this.nowMs, why };
    this.#played = this.#playback.played();
    this.#playback.stop();
    for (const watch of this.#watches) this.#settle(watch, false);
    return this.#end;
  }

  #settle(watch: Watch, isDue: boolean): void {
    this.#watches.delete(watch);
    watch.resolve(isDue);
  }
}
