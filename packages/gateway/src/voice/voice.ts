import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Defects } from '@spillway/server/defects';
import { GatewayError, overloaded, shuttingDown } from '@spillway/server/errors';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { SessionDoor } from '@spillway/server/session/sessions';
import { acceptTwilio, carrierSocketOptions, openOpenAiRealtime, streamTwiml } from '@spillway/voice';
import { type WebSocket, WebSocketServer } from 'ws';
import { Calls, type CallsOptions } from './calls.ts';
import { Demonstrations } from './demonstrations.ts';
import { voicePath } from './voice-path.ts';

export interface VoiceOptions extends Pick<CallsOptions, 'log' | 'watch'> {
  readonly clock: ServerClock;
  readonly defects: Defects;
  readonly door: Pick<SessionDoor, 'refusal' | 'refuse'>;
  readonly isReady: () => boolean;
  /** How this machine reaches the gateway by plain HTTP; `undefined`: it cannot, and there are no demonstrations. */
  readonly ownUrl: (() => string) | undefined;
  /** The URL of the simulated models. */
  readonly simulatorUrl: string;
}

/** The window of a call that says nothing else. */
const defaultWindowMs = 800;

/**
 * Calls with the simulated model, for a carrier's double on this machine: neither side has an account, and nothing is signed.
 */
export class Voice {
  readonly calls: Calls;
  readonly demonstrations: Demonstrations | undefined;
  readonly #options: VoiceOptions;
  /** Sockets that have not said which call they are. */
  #opening = 0;
  readonly #sockets = new WebSocketServer({ noServer: true, ...carrierSocketOptions });

  constructor(options: VoiceOptions) {
    this.#options = options;
    const { clock, isReady, log, ownUrl, simulatorUrl, watch } = options;
    const url = `${simulatorUrl.replace(/^http/, 'ws')}/v1/realtime`;
    this.calls = new Calls({
      openModel: () => openOpenAiRealtime({ url, model: 'simulated', clock }),
      greeting: 'Say hello.',
      clock,
      log,
      watch,
    });
    this.demonstrations =
      ownUrl &&
      new Demonstrations({
        calls: this.calls,
        clock,
        isReady,
        voiceUrl: () => `${ownUrl().replace(/^http/, 'ws')}${voicePath}`,
        modelUrl: url,
        windowMs: () => defaultWindowMs,
      });
  }

  /** Takes an upgrade request, if it is for a call. Returns whether it was. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    if (request.url?.split('?')[0] !== voicePath) return false;
    const refusal = this.#refusal(request, socket);
    if (refusal !== undefined) this.#options.door.refuse(request, refusal);
    else this.#sockets.handleUpgrade(request, socket, head, (accepted) => void this.#answer(accepted));
    return true;
  }

  /** The answer to a carrier's webhook, which has asked at that host. */
  twiml(host: string): string {
    return streamTwiml({ url: `ws://${host}${voicePath}` });
  }

  /** Ends all calls. */
  close(): void {
    this.demonstrations?.close();
    this.calls.close();
  }

  #refusal(request: IncomingMessage, upgraded: Duplex): GatewayError | undefined {
    // An upgrade request with a body gets a stream from Node that is not the connection.
    if (upgraded !== request.socket) return new GatewayError('invalid_request', 'An upgrade has no body.');
    const refusal = this.#options.door.refusal(request);
    if (refusal !== undefined) return refusal;
    if (!this.#options.isReady()) return shuttingDown();
    return this.calls.hasRoomFor(this.#opening + 1) ? undefined : overloaded('As many calls run as may.');
  }

  async #answer(socket: WebSocket): Promise<void> {
    const { clock, defects } = this.#options;
    this.#opening += 1;
    try {
      this.calls.answer(await acceptTwilio(socket, { clock }).finally(() => (this.#opening -= 1)));
    } catch (error) {
      // A peer that is no carrier was told so by its socket's close.
      if (error instanceof Error && 'code' in error && String(error.code).startsWith('carrier_')) return;
      defects.caught('call', error);
      socket.terminate();
    }
  }
}
