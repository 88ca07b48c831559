import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Timer } from '@spillway/core/clock';
import type { Caller } from '@spillway/server/access/caller';
import type { Defects } from '@spillway/server/defects';
import { GatewayError, overloaded, shuttingDown } from '@spillway/server/errors';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { SessionRequests } from '@spillway/server/session/session-requests';
import type { SessionDoor } from '@spillway/server/session/sessions';
import {
  acceptTwilio,
  carrierSocketOptions,
  type CarrierLeg,
  SingleUseTokens,
  streamTwiml,
  type TwimlVerb,
  verbsTwiml,
} from '@spillway/voice';
import { type WebSocket, WebSocketServer } from 'ws';
import { namesOf, type VoiceSettings } from '../config/read-voice.ts';
import { requestRefusal } from '../http/request-target.ts';
import type { ConversationLease } from '../limit/conversation-lease.ts';
import { textTokens } from '../limit/token-estimate.ts';
import type { Limiter } from '../limit/limiter.ts';
import type { Served } from '../config/read-models.ts';
import type { LimitedRequest } from '../limit/limited-request.ts';
import type { CallRefusal } from './call-refusals.ts';
import { askedName, type CallPlan, Calls, type CallsOptions } from './calls.ts';
import { type CarrierRequest, callIdOf, signatureHeader } from './carrier-request.ts';
import { signatureRefusal } from './signature-refusal.ts';
import { demonstrationParameter, Demonstrations } from './demonstrations.ts';
import { openModel } from './open-model.ts';
import { openOwnFetch } from './own-fetch.ts';
import { endedPath, voicePath } from './voice-path.ts';
import { openFiller, openTools } from './voice-tools.ts';

/** Who answers calls, for people. */
export interface CallsText {
  readonly answers: string;
  /** What a spoken conversation without any service would need; `undefined`: nothing, or calls are configured. */
  readonly missing: string | undefined;
}

export interface VoiceOptions extends Pick<CallsOptions, 'log' | 'usage' | 'watch'> {
  readonly clock: ServerClock;
  readonly defects: Defects;
  readonly door: SessionDoor;
  readonly isReady: () => boolean;
  /** Holds calls against the limits of their tenant; `undefined`: nobody has any. */
  readonly limiter: () => Pick<Limiter, 'conversation'> | undefined;
  /** How this machine reaches the gateway by plain HTTP; `undefined`: it cannot, and there are no demonstrations. */
  readonly ownUrl: (() => string) | undefined;
  readonly settings: VoiceSettings;
  /** What is served now. */
  readonly served: () => Served;
  /** Asks this gateway's models of text, as clients do, within calls that have their own places. */
  readonly requests: SessionRequests;
  /** The URL of the gateway's simulated models; `undefined`: it has none. */
  readonly simulatorUrl: string | undefined;
  /** A simulated model for calls alone; it is closed with them. `undefined`: there is none. */
  readonly ownSimulator: SimulatedModels | undefined;
  /** {@link CallsText.missing} */
  readonly missing?: string | undefined;
}

/** A call whose webhook was answered. */
interface AwaitedCall {
  /** The carrier's id. */
  readonly call: string;
  /** What it holds of its tenant's limits; it is settled when no socket comes in time. */
  readonly lease: ConversationLease | undefined;
  readonly expiry: Timer | undefined;
}

/** How long a call's socket may take to come. */
const awaitMs = 30_000;

/** A server of simulated models. */
export interface SimulatedModels {
  readonly url: string;
  close(): Promise<void>;
}

/** WebSocket close code: what came is not allowed. */
const policyViolation = 1008;
/** WebSocket close code: come again later. */
const tryAgain = 1013;
/** What a socket is told whose place a newer one has got. */
const displacedText =
  'expected the start message before as many newer sockets came as may wait (voice.maxCalls)';

/**
 * Telephone calls. A carrier asks the webhook what to do with a call, opens a socket, and asks what follows when it is closed.
 * With a signed line each of the three is signed by the account, and the socket shows the webhook's token, once; without one, a
 * carrier's double on this machine calls. One file, because these three have one thing in common, the call that is awaited.
 */
export class Voice {
  readonly calls: Calls;
  readonly demonstrations: Demonstrations | undefined;
  readonly #options: VoiceOptions;
  #settings: VoiceSettings;
  #plan: CallPlan;
  /** Calls whose webhook was answered, and whose socket has not come: each has a place. */
  readonly #tokens: SingleUseTokens<AwaitedCall>;
  /** Sockets that have not said which call they are: ≤ `maxCalls` always. The oldest is first. */
  readonly #opening = new Set<WebSocket>();
  readonly #sockets = new WebSocketServer({ noServer: true, ...carrierSocketOptions });
  /** Of demonstrations that have asked for a call, each good for one socket. */
  readonly #demonstrationTokens: SingleUseTokens<true>;

  /** @throws {ConfigError} for a tool that cannot be used. */
  constructor(options: VoiceOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#plan = this.#planOf(options.settings);
    this.#tokens = new SingleUseTokens({ clock: options.clock, maxAgeMs: awaitMs });
    this.#demonstrationTokens = new SingleUseTokens({ clock: options.clock, maxAgeMs: awaitMs });
    const { clock, log, usage, watch } = options;
    this.calls = new Calls({ plan: () => this.#plan, clock, log, usage, watch });
    this.#sockets.on('wsClientError', ({ message }: Error, _socket, request: IncomingMessage) => {
      options.door.refuse(request, new GatewayError('invalid_request', `${message}.`));
    });
    this.demonstrations = this.#openDemonstrations();
  }

  /** Who answers calls, for people. */
  get text(): CallsText {
    return { answers: titleOf(this.#settings.model), missing: this.#options.missing };
  }

  /** Whether a carrier has to sign. */
  get isSigned(): boolean {
    return this.#settings.line !== undefined;
  }

  /** Why a webhook's request is refused before its form is read; `undefined`: it is read. */
  unsignedRefusal({
    signature,
    target,
  }: Pick<CarrierRequest, 'signature' | 'target'>): GatewayError | undefined {
    const { line } = this.#settings;
    if (line === undefined || signature !== undefined) return undefined;
    return signatureRefusal(line, { signature, target }, 'http');
  }

  /**
   * Gets other settings ready, for calls that come later; what it returns puts them in force.
   *
   * @throws {ConfigError} for a tool that cannot be used.
   */
  prepare(settings: VoiceSettings): () => void {
    const plan = this.#planOf(settings);
    return () => {
      this.#settings = settings;
      this.#plan = plan;
    };
  }

  /** Takes an upgrade request, if it is for a call. Returns whether it was. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    if (request.url?.split('?')[0] !== voicePath) return false;
    const { door } = this.#options;
    const refusal = this.#refusal(request, socket);
    if (refusal !== undefined) {
      door.refuse(request, refusal);
      return true;
    }
    if (this.isSigned) door.known(request.socket);
    this.#sockets.handleUpgrade(request, socket, head, (accepted) => void this.#answer(accepted));
    return true;
  }

  /**
   * The answer to a carrier that asks what to do with a call, as TwiML: a socket, or a sentence where no call is taken now.
   *
   * @throws {GatewayError} `invalid_signature`, `invalid_request`
   */
  async asked(request: CarrierRequest): Promise<string> {
    const { line } = this.#settings;
    this.#check(request);
    const call = callIdOf(request);
    if (!this.#options.isReady()) return this.#refused('shutting_down', { call });
    if (!this.#hasRoom()) return this.#refused('overloaded', { call });
    if (line === undefined) return streamTwiml({ url: `ws://${request.host}${voicePath}` });
    let lease: ConversationLease | undefined;
    try {
      lease = this.#leaseOf(this.#settings.tenant);
      await lease?.enterNow();
    } catch (error) {
      lease?.settle();
      if (!(error instanceof GatewayError)) throw error;
      this.#options.usage()?.refused({ caller: callerFor(this.#settings.tenant), error });
      return this.#refused('limit', { call, detail: error.message });
    }
    // Others may have got the last place while the limits were asked.
    const token = this.#hasRoom() ? this.#await(call, lease) : undefined;
    if (token === undefined) {
      lease?.settle();
      return this.#refused('overloaded', { call });
    }
    return streamTwiml({
      url: `${line.publicUrl.replace(/^http/, 'ws')}${voicePath}`,
      parameters: { token },
      action: `${line.publicUrl}${endedPath}`,
    });
  }

  /**
   * The answer to a carrier that asks what follows a call, as TwiML: where it did not end as it should, its caller is told, and
   * connected with somebody else.
   *
   * @throws {GatewayError} `invalid_signature`, `invalid_request`
   */
  followed(request: CarrierRequest): string {
    this.#check(request);
    return this.calls.endings.isWell(callIdOf(request)) ? verbsTwiml([{ verb: 'hangup' }]) : this.#failed();
  }

  /** Ends all calls. */
  async close(): Promise<void> {
    this.demonstrations?.close();
    this.calls.close();
    await this.#options.ownSimulator?.close();
  }

  /** With simulated models and an unsigned line: nobody has an account, and nothing costs money. */
  #openDemonstrations(): Demonstrations | undefined {
    const { clock, isReady, ownUrl, settings } = this.#options;
    const hasSimulator = this.#simulatorUrl !== undefined;
    if (ownUrl === undefined || settings.line !== undefined || !hasSimulator) return undefined;
    const webSocket = (url: string): string => url.replace(/^http/, 'ws');
    return new Demonstrations({
      calls: this.calls,
      clock,
      isReady,
      voiceUrl: () => `${webSocket(ownUrl())}${voicePath}`,
      makeToken: () => this.#demonstrationTokens.make(true) ?? '',
      modelUrl: `${webSocket(this.#simulatorUrl ?? '')}/v1/realtime`,
      windowMs: () => this.#settings.windowMs,
    });
  }

  /** Where the simulated models are; `undefined`: there are none. */
  get #simulatorUrl(): string | undefined {
    const { ownSimulator, simulatorUrl = ownSimulator?.url } = this.#options;
    return simulatorUrl;
  }

  #planOf(settings: VoiceSettings): CallPlan {
    const { clock } = this.#options;
    const {
      greeting,
      instructions = '',
      maxAnswerMs,
      maxCalls,
      maxDurationMs,
      onShortNoise,
      windowMs,
    } = settings;
    const tools = openTools(settings.tools);
    const filler = openFiller(settings);
    const simulatorUrl = this.#simulatorUrl;
    return {
      ...(filler === undefined ? {} : { filler }),
      ...(greeting === '' ? {} : { greeting }),
      maxAnswerMs,
      maxCalls,
      names: { ...namesOf(settings.model), tenant: settings.tenant ?? '' },
      maxDurationMs,
      onShortNoise,
      promptTokens: textTokens(Buffer.byteLength(instructions + JSON.stringify(tools))),
      windowMs,
      tools,
      isCountedApart: settings.model?.api === 'cascade',
      speech:
        settings.model?.api === 'cascade'
          ? { recognise: settings.model.recognise.title, speak: settings.model.speak.title }
          : undefined,
      openModel: (past, { callId, onLimit, tenant }) => {
        const { requests } = this.#options;
        const caller = callerFor(tenant);
        const fetch = openOwnFetch({ caller, clock, onLimit, requestId: callId, requests });
        return openModel({ settings, simulatorUrl, tools, past, fetch, clock });
      },
    };
  }

  /** A demonstration compares with a bridge to the simulated realtime model, so that is what answers it. */
  #planFor({ call: { parameters } }: CarrierLeg): CallPlan {
    const token = parameters[demonstrationParameter];
    const isDemonstration = token !== undefined && this.#demonstrationTokens.take(token) === true;
    return isDemonstration ? this.#planOf({ ...this.#settings, model: undefined }) : this.#plan;
  }

  /** The answer to a call that is not taken. */
  #refused(reason: CallRefusal, about: { readonly call: string; readonly detail?: string }): string {
    this.calls.refusals.refused(reason, about);
    return this.#failed();
  }

  /** A lease for a call of a tenant; `undefined`: no limits hold for it. */
  #leaseOf(tenant: string | undefined): ConversationLease | undefined {
    if (tenant === undefined) return undefined;
    const asker = { caller: callerFor(tenant), headers: {} };
    return this.#options.limiter()?.conversation(this.#asked, asker);
  }

  /** The model of calls, as limits look at it. */
  get #asked(): Pick<LimitedRequest, 'isAround' | 'isFirstProvider' | 'model' | 'provider' | 'targets'> {
    const { names } = this.#plan;
    const { model } = this.#settings;
    const whom = { provider: { name: names.provider }, isFirstProvider: true };
    if (model?.api !== 'cascade') return { ...whom, model: askedName(names) };
    const { models } = this.#options.served();
    return {
      ...whom,
      isAround: true,
      model: model.reason,
      targets: models.find(({ name }) => name === model.reason)?.targets,
    };
  }

  /** A token for the socket of a call. `undefined`: as many as may be are awaited. */
  #await(call: string, lease: ConversationLease | undefined): string | undefined {
    const expiry =
      lease &&
      this.#options.clock.after(awaitMs, () => {
        this.#tokens.take(token ?? '');
        lease.settle();
      });
    expiry?.unref();
    const token = this.#tokens.make({ call, lease, expiry });
    if (token === undefined) expiry?.stop();
    return token;
  }

  /** Whether there is a place for one more call, beside those that run and those that may come. */
  #hasRoom(): boolean {
    return this.calls.hasRoomFor(this.#tokens.size + 1);
  }

  /** @throws {GatewayError} for a request that the account has not signed, or that names no call. */
  #check(request: CarrierRequest): void {
    const { line } = this.#settings;
    if (line === undefined) return;
    const refusal = signatureRefusal(line, request, 'http');
    if (refusal !== undefined) throw refusal;
    if (callIdOf(request) === '')
      throw new GatewayError('invalid_request', 'The form: expected CallSid, as Twilio sends it, got none.');
  }

  /** What a caller hears whose call is not taken, or did not end as it should. */
  #failed(): string {
    const { failureDial, failureSay, language } = this.#settings;
    const say: TwimlVerb = {
      verb: 'say',
      text: failureSay,
      // A voice of Twilio's has a language with its region.
      ...(language?.includes('-') === true ? { language } : {}),
    };
    return verbsTwiml([
      say,
      failureDial === undefined ? { verb: 'hangup' } : { verb: 'dial', number: failureDial },
    ]);
  }

  #refusal(request: IncomingMessage, upgraded: Duplex): GatewayError | undefined {
    // An upgrade request with a body gets a stream from Node that is not the connection.
    if (upgraded !== request.socket) return new GatewayError('invalid_request', 'An upgrade has no body.');
    const refusal = this.#senderRefusal(request);
    if (refusal !== undefined) return refusal;
    if (!this.#options.isReady()) return shuttingDown();
    // With a token a socket has its place.
    const hasRoom = this.isSigned || this.calls.hasRoomFor(this.#opening.size + 1);
    return hasRoom ? undefined : overloaded('As many calls run as may (voice.maxCalls).');
  }

  #senderRefusal(request: IncomingMessage): GatewayError | undefined {
    const { line } = this.#settings;
    if (line === undefined) return this.#options.door.refusal(request);
    const signature = request.headers[signatureHeader]?.toString();
    return requestRefusal(request) ?? signatureRefusal(line, { signature, target: request.url ?? '' }, 'ws');
  }

  async #answer(socket: WebSocket): Promise<void> {
    const { clock, defects } = this.#options;
    this.#opening.add(socket);
    const [oldest] = this.#opening;
    // A carrier speaks at once. So sockets that say nothing, signed once and sent again, keep out nobody who calls.
    if (oldest !== undefined && this.#opening.size > this.#settings.maxCalls) this.#displace(oldest);
    let isDisplaced = false;
    try {
      const leg = await acceptTwilio(socket, { clock }).finally(() => {
        isDisplaced = !this.#opening.delete(socket);
      });
      if (isDisplaced) leg.close(tryAgain, displacedText);
      else if (!this.isSigned) this.calls.answer(leg, undefined, this.#planFor(leg));
      else {
        const awaited = this.#awaited(leg);
        if (awaited !== undefined) this.calls.answer(leg, awaited.lease);
      }
    } catch (error) {
      // A peer that is no carrier was told so by its socket's close.
      if (error instanceof Error && 'code' in error && String(error.code).startsWith('carrier_')) {
        if (!isDisplaced) this.calls.refusals.refused('carrier', { detail: error.message });
        return;
      }
      defects.caught('call', error);
      socket.terminate();
    }
  }

  /** Gives the place of a socket that has said nothing to a newer one. It is told why, and not waited for. */
  #displace(socket: WebSocket): void {
    this.#opening.delete(socket);
    this.calls.refusals.refused('overloaded', { detail: displacedText });
    socket.close(tryAgain, displacedText);
    socket.terminate();
  }

  /** The call of a socket that shows the token of its webhook. Another one is closed. */
  #awaited(leg: CarrierLeg): AwaitedCall | undefined {
    const { callId, parameters } = leg.call;
    const awaited = this.#tokens.take(parameters['token'] ?? '');
    awaited?.expiry?.stop();
    if (awaited?.call === callId) return awaited;
    awaited?.lease?.settle();
    const detail = 'expected the token of its webhook, once and within 30 s';
    this.calls.refusals.refused('token', { call: callId, detail });
    leg.close(policyViolation, detail);
    return undefined;
  }
}

function titleOf(model: VoiceSettings['model']): string {
  if (model?.api === 'cascade') return `${model.recognise.title}, ${model.reason}, ${model.speak.title}`;
  return askedName(namesOf(model));
}

/** Calls have no key: who asks is their tenant. */
function callerFor(tenant = ''): Caller {
  return { name: tenant, tenant, owner: undefined };
}
