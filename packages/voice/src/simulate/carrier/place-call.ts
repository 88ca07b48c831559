import { SpillwayError } from '@spillway/core';
import { type Clock, systemClock } from '@spillway/core/clock';
import { type ClientOptions, WebSocket } from 'ws';
import { twilioSignature } from '../../telephony/twilio-signature.ts';
import { askWebhook } from './ask-webhook.ts';
import type { LinkFaults } from './link.ts';
import { SimulatedCall } from './simulated-call.ts';

/** How a simulated call is placed. */
export interface PlaceCallOptions {
  /** What the human says at once: µ-law, 8,000 samples a second. Default: nothing, until `say` is called. */
  readonly audio?: Uint8Array;
  /** What a webhook's answer would have given to the socket. Not for the URL of a webhook. Default: nothing. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Signs the requests as Twilio does for this account. Default: they are not signed. */
  readonly authToken?: string;
  /** What is wrong with the link. Default: nothing. */
  readonly link?: LinkFaults;
  /** After how long the human hangs up: 100 to 3,600,000 ms. Default: 600,000. */
  readonly maxDurationMs?: number;
  /** How long a connection and a webhook's answer may take: 100 to 60,000 ms. Default: 5,000. */
  readonly connectTimeoutMs?: number;
  /** Time and randomness: a clock that runs faster makes a faster call. Default: the system's. */
  readonly clock?: Clock;
}

/** Why a simulated call did not begin. */
export type PlaceCallErrorCode = 'call_refused';

/** How long the other side may take to answer a close. */
const closeTimeoutMs = 2000;
/** A larger message is none of a bridge's. */
const maxMessageBytes = 16_777_216;

/**
 * Calls as Twilio's Media Streams do, without Twilio: a strict peer with an ear that plays in real time. It connects to a
 * socket (`ws:`, `wss:`), or asks a webhook first (`http:`, `https:`) and connects to what its TwiML says. It returns marks when
 * the audio before them was really played, drops what waits on `clear`, hangs up at the first message that Twilio would
 * refuse, and keeps the truth: what was heard, and when.
 *
 * @throws {SpillwayError} `call_refused` when the webhook or the socket refuses; `invalid_option`.
 *
 * @example
 * ```ts
 * import { figuresOf, placeCall } from '@spillway/voice/simulate/carrier';
 *
 * const call = await placeCall('ws://127.0.0.1:8080/voice/twilio');
 * await call.whenHeard(1500, 10_000);
 * call.say(new Uint8Array(8000).fill(0x90)); // speaks into the answer, for a second
 * await call.whenQuiet(1000, 10_000);
 * call.hangUp();
 * console.log(figuresOf(await call.ended).interruptions);
 * ```
 */
export async function placeCall(url: string, options: PlaceCallOptions = {}): Promise<SimulatedCall> {
  const { authToken, clock = systemClock, connectTimeoutMs = 5000, maxDurationMs = 600_000 } = options;
  checkRange('connectTimeoutMs', connectTimeoutMs, 100, 60_000);
  checkRange('maxDurationMs', maxDurationMs, 100, 3_600_000);
  const protocol = URL.parse(url)?.protocol ?? 'none';
  if (!['http:', 'https:', 'ws:', 'wss:'].includes(protocol))
    throw new SpillwayError(
      'invalid_option',
      `url: expected a URL with http, https, ws or wss, got ${protocol}`,
    );
  const callId = sid('CA', clock);
  const { parameters, streamUrl } = protocol.startsWith('http')
    ? await askWebhook(url, { authToken, callId, timeoutMs: connectTimeoutMs })
    : { parameters: options.parameters ?? {}, streamUrl: url };
  const socket = await connect(streamUrl, authToken, connectTimeoutMs);
  return new SimulatedCall(socket, {
    callId,
    streamId: sid('MZ', clock),
    accountId: sid('AC', clock),
    parameters,
    clock,
    link: options.link ?? {},
    maxDurationMs,
    audio: options.audio ?? new Uint8Array(),
  });
}

/** Twilio's ids: two letters, and 32 digits of base 16. */
function sid(letters: string, clock: Clock): string {
  return letters + Buffer.from(clock.randomBytes(16)).toString('hex');
}

function connect(url: string, authToken: string | undefined, timeoutMs: number): Promise<WebSocket> {
  // The types do not know `closeTimeout` yet.
  const options: ClientOptions & { readonly closeTimeout: number } = {
    perMessageDeflate: false,
    handshakeTimeout: timeoutMs,
    maxPayload: maxMessageBytes,
    closeTimeout: closeTimeoutMs,
    ...(authToken === undefined
      ? {}
      : { headers: { 'x-twilio-signature': twilioSignature(authToken, url) } }),
  };
  const { promise, reject, resolve } = Promise.withResolvers<WebSocket>();
  const socket = new WebSocket(url, options);
  socket.once('open', () => {
    // What comes until the call listens is not lost.
    socket.pause();
    resolve(socket);
  });
  socket.once('error', ({ message }: Error) => {
    reject(
      new SpillwayError<PlaceCallErrorCode>('call_refused', `expected a WebSocket at ${url}: ${message}`),
    );
  });
  return promise;
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw new SpillwayError('invalid_option', `${name}: expected ${min} to ${max} milliseconds, got ${value}.`);
}
