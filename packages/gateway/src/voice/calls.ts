import type { Logger } from 'pino';
import type {
  Call,
  CallEndReason,
  CallEvent,
  CallFigures,
  CallOptions,
  CarrierLeg,
  ModelLeg,
  StageName,
  Utterance,
} from '@spillway/voice';
import { openCall } from '@spillway/voice';
import type { LimitError } from '@spillway/server/limit/limit-error';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Price } from '../config/limits.ts';
import { type ConversationLease, sumOf } from '../limit/conversation-lease.ts';
import type { StreamUsage } from '../limit/stream-usage.ts';
import type { CallCounts, CallTotals } from '../telemetry/call-metrics.ts';
import { CallEndings } from './call-endings.ts';
import { CallNotes, type CallWords } from './call-notes.ts';
import { CallRefusals } from './call-refusals.ts';
import { CallUsage } from './call-usage.ts';

/** What taps and accounts call the model of calls, and whose they are; without a tenant it is empty. */
export interface CallNames {
  readonly model: string;
  readonly provider: string;
  readonly tenant: string;
}

/** A call whose model asks this gateway itself. */
interface CallAsker {
  readonly callId: string;
  /** Whose call it is; empty: nobody's. */
  readonly tenant: string;
  /** A limit ends the call: it is heard to the end of what was said. */
  readonly onLimit: (error: LimitError) => void;
}

/** How a call is answered. */
export interface CallPlan extends Pick<
  CallOptions,
  'filler' | 'greeting' | 'maxAnswerMs' | 'maxDurationMs' | 'onShortNoise' | 'tools' | 'windowMs'
> {
  /** Opens the model's end of a call, with what was said so far. */
  readonly openModel: (past: readonly Utterance[], asker: CallAsker) => ModelLeg;
  /** Whether the tokens of that model are counted elsewhere, as requests of their own. */
  readonly isCountedApart: boolean;
  /** The recogniser and the speaker of a cascade, as prices name them. */
  readonly speech?: { readonly recognise: string; readonly speak: string } | undefined;
  /** What taps call the model: its provider, and its name there. */
  readonly names: CallNames;
  /** An estimate of what the model is told before anybody speaks. */
  readonly promptTokens: number;
  /** Calls that may run at once. Each is two sockets and at most two minutes of speech, about a megabyte. */
  readonly maxCalls: number;
}
import { CallerSound, noSound, sumOfSound } from './caller-sound.ts';
import { CallStages, noStages, type StageTotals, sumOfStage } from './call-stages.ts';
import type { CallRow, EndedCallRow } from './calls-snapshot.ts';
import { HeardCarrier, type HearSound } from './heard-carrier.ts';
import { MeteredModel } from './metered-model.ts';
import { speechCost, type SpeechPrices } from './speech-cost.ts';

/** Who looks on at a call. */
export interface CallWatcher {
  /** `limit`: what ends the call, of its end; `undefined`: no limit does. */
  readonly saw: (event: CallEvent, limit?: LimitError) => void;
  /** Gets the sound, if it wants it. */
  readonly heard?: HearSound | undefined;
}

export interface CallsOptions {
  /** How the next call is answered. */
  readonly plan: () => CallPlan;
  readonly clock: ServerClock;
  readonly log: Pick<Logger, 'info'>;
  /** Counts what calls have used; `undefined`: nobody asks for that. */
  readonly usage: () => Pick<StreamUsage, 'priceNow' | 'refused' | 'speechPriceNow' | 'talked'> | undefined;
  /** Whoever looks on at a call. `end` ends it, soon. */
  readonly watch: (
    carrier: CarrierLeg,
    model: CallNames & { readonly api: string },
    end: (detail: string) => void,
  ) => CallWatcher;
}

/** A model's session that ends so would not be another one if it were opened again. */
const lastingFailures = new Set(['refused', 'unauthorized']);

/** The ended calls that are remembered for people. */
const maxEnded = 50;

/** A call that runs, and who it is. */
interface RunningCall {
  readonly call: Call;
  readonly carrier: CarrierLeg['call'];
  readonly names: CallNames;
  readonly startedMs: number;
  /** What its tokens cost. */
  readonly price: Price | undefined;
  readonly speechPrices: SpeechPrices;
  readonly spent: CallUsage;
  readonly stages: CallStages;
  readonly sound: CallerSound;
  readonly lease: ConversationLease | undefined;
  /** The limit that ends it. */
  limit: LimitError | undefined;
}

/** The calls of a gateway. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #calls = new Set<RunningCall>();
  /** Those who listen to a call's events, by the carrier's id of its connection. */
  readonly #listeners = new Map<string, (event: CallEvent) => void>();
  readonly #latest: EndedCallRow[] = [];
  /** All reasons, so that the first call of one has a rate. */
  readonly #ended: Record<CallEndReason, number> = {
    hangup: 0,
    carrier_lost: 0,
    carrier_refused: 0,
    model_failed: 0,
    ear_stalled: 0,
    limit: 0,
    max_duration: 0,
    closed: 0,
  };
  /** Ends the wait of `drainAll`. */
  #onLast: (() => void) | undefined;
  /** How the last calls ended. */
  readonly endings = new CallEndings();
  readonly refusals: CallRefusals;
  #over = { interruptions: 0, underruns: 0, droppedMs: 0, lostMs: 0, reopened: 0 };
  readonly #overStages = noStages();
  #overSound = noSound;

  constructor(options: CallsOptions) {
    this.#options = options;
    this.refusals = new CallRefusals(options.log, options.clock);
  }

  /** Whether so many more calls may run. */
  hasRoomFor(more: number): boolean {
    return this.#calls.size + more <= this.#options.plan().maxCalls;
  }

  /** The tenants of the calls that run, one for each. */
  get tenants(): readonly string[] {
    return [...this.#calls].map(({ names }) => names.tenant);
  }

  /** The calls that run. */
  get size(): number {
    return this.#calls.size;
  }

  /** What waits now, of each call. */
  get figures(): readonly CallFigures[] {
    return [...this.#calls].map(figuresOf);
  }

  /** How loud the callers are that speak, in dB of full scale. */
  get levelsDb(): readonly number[] {
    return [...this.#calls].flatMap(({ sound }) => sound.levelDb ?? []);
  }

  get totals(): CallTotals {
    const totals = { ...this.#over };
    const stages = { ...this.#overStages };
    let sound = this.#overSound;
    for (const running of this.#calls) {
      add(totals, running.call.figures);
      addStages(stages, running);
      sound = sumOfSound(sound, running.sound.totals);
    }
    return { ...totals, stages, sound, ended: { ...this.#ended }, refused: { ...this.refusals.counts } };
  }

  /** Answers a call. `lease`: what it holds of its tenant's limits. `plan`: how; default: as calls are answered now. */
  answer(carrier: CarrierLeg, lease?: ConversationLease, plan = this.#options.plan()): void {
    const { clock, watch } = this.#options;
    const { isCountedApart, maxCalls: _, names, openModel, promptTokens, speech, ...planned } = plan;
    const startedMs = clock.nowMs();
    const notes = new CallNotes();
    const spent = new CallUsage();
    spent.answer.joined(promptTokens);
    let limit: LimitError | undefined;
    const onLimit = (error: LimitError): void => {
      if (limit !== undefined) return;
      limit = error;
      running.limit = error;
      call.finish(error.message);
    };
    const stages = new CallStages();
    const sound = new CallerSound(carrier.format);
    const asker = { callId: carrier.call.callId, tenant: names.tenant, onLimit };
    const openMetered = (past: readonly Utterance[]): ModelLeg => {
      const leg = openModel(past, asker);
      stages.opened(leg);
      return isCountedApart ? leg : new MeteredModel(leg, spent.answer);
    };
    const model = openMetered([]);
    const about = { ...names, api: model.api };
    const { heard, saw } = watch(carrier, about, (why) => queueMicrotask(() => call.close(why)));
    const call = openCall({
      carrier: new HeardCarrier(carrier, (from, audio) => {
        if (from === 'human') sound.hear(audio);
        heard?.(from, audio);
      }),
      model,
      ...planned,
      reopenModel: (past, { code }) => (lastingFailures.has(code) ? undefined : openMetered(past)),
      clock,
      onEvent: (event) => {
        saw(event, limit);
        this.#listeners.get(carrier.call.streamId)?.(event);
        notes.saw(event);
        if (spent.saw(event) && spent.spent !== undefined) lease?.used(spent.spent);
      },
    });
    const usage = this.#options.usage();
    const running: RunningCall = {
      call,
      carrier: carrier.call,
      names,
      startedMs,
      price: usage?.priceNow(names.model, names.provider),
      speechPrices: {
        recognise: speech && usage?.speechPriceNow(speech.recognise),
        speak: speech && usage?.speechPriceNow(speech.speak),
      },
      spent,
      stages,
      sound,
      lease,
      limit: undefined,
    };
    this.#calls.add(running);
    lease?.begin(onLimit);
    // Who calls and hangs up at once is gone before there is a call to look at.
    void call.ended.then((reason) => this.#ends(running, reason, notes.words));
  }

  /** The calls that run, for people: the newest first. */
  get rows(): readonly CallRow[] {
    const nowMs = this.#options.clock.nowMs();
    return [...this.#calls].toReversed().map((running) => ({
      callId: running.carrier.callId,
      carrier: running.carrier.carrier,
      ageMs: Math.round(nowMs - running.startedMs),
      figures: figuresOf(running),
    }));
  }

  /** The latest calls that ended, for people: the newest first, and 50 at most. */
  get latest(): readonly EndedCallRow[] {
    return this.#latest;
  }

  /** Speaks into a call's answer for its human. Returns whether there is such a call. */
  interrupt(callId: string): boolean {
    const found = this.#find(callId);
    found?.call.interrupt();
    return found !== undefined;
  }

  /** Ends a call. Returns whether there was one. */
  end(callId: string): boolean {
    const found = this.#find(callId);
    found?.call.close('An operator of the gateway ended the call.');
    return found !== undefined;
  }

  /** What waits in the call on a connection. `undefined`: there is no such call. */
  figuresOf(streamId: string): CallFigures | undefined {
    return [...this.#calls].find(({ carrier }) => carrier.streamId === streamId)?.call.figures;
  }

  /** Calls back for each event of the call on a connection, one listener each, until the function that it returns is called. */
  listen(streamId: string, listener: (event: CallEvent) => void): () => void {
    this.#listeners.set(streamId, listener);
    return () => void this.#listeners.delete(streamId);
  }

  /** Resolves when no call runs any more. After `deadlineMs`, `onDeadline` is called, which has to end them. */
  async drainAll(deadlineMs: number, onDeadline: () => void): Promise<void> {
    if (this.#calls.size === 0) return;
    const timer = this.#options.clock.after(deadlineMs, onDeadline);
    await new Promise<void>((resolve) => (this.#onLast = resolve));
    timer.stop();
  }

  /** Ends all calls. */
  cancelAll(): void {
    for (const { call } of this.#calls) call.close('The gateway stops.');
  }

  #find(callId: string): RunningCall | undefined {
    return [...this.#calls].find(({ carrier }) => carrier.callId === callId);
  }

  #ends(running: RunningCall, reason: CallEndReason, words: CallWords): void {
    const { clock, log, usage } = this.#options;
    const { call, carrier, lease, limit, names, price, spent, startedMs } = running;
    const { tenant } = names;
    const unreported = spent.answer.usage;
    const counted = lease?.settle(sumOf(spent.total, unreported));
    const speech = speechCost(figuresOf(running), running.speechPrices);
    usage()?.talked({ tenant, price, usage: spent.total, unreported, counted, speech, error: limit });
    const { callId } = carrier;
    const { droppedMs, interruptions, lostMs, reopened, underruns } = call.figures;
    const durationMs = Math.round(clock.nowMs() - startedMs);
    this.#calls.delete(running);
    this.endings.ended(callId, reason);
    this.#ended[reason] += 1;
    add(this.#over, call.figures);
    addStages(this.#overStages, running);
    this.#overSound = sumOfSound(this.#overSound, running.sound.totals);
    const figures = {
      interruptions,
      underruns,
      droppedMs: Math.round(droppedMs),
      lostMs: Math.round(lostMs),
    };
    const endedAtMs = clock.dateMs();
    this.#latest.unshift({ callId, carrier: carrier.carrier, endedAtMs, durationMs, reason, ...figures });
    if (this.#latest.length > maxEnded) this.#latest.pop();
    log.info(
      {
        call: callId,
        carrier: carrier.carrier,
        tenant: tenant === '' ? undefined : tenant,
        inputTokens: spent.total?.inputTokens,
        outputTokens: spent.total?.outputTokens,
        reason,
        detail: words.detail,
        warned: words.warned,
        durationMs,
        ...figures,
        reopened: reopened || undefined,
        tools: words.tools,
        stages: stagesText(running),
      },
      'call ended',
    );
    if (this.#calls.size === 0) this.#onLast?.();
  }

  /** Ends all calls, and what is watched of them. */
  close(): void {
    this.cancelAll();
    this.refusals.close();
  }
}

/** The model of calls as settings name it, by which it has its price. */
export function askedName({ model, provider }: Pick<CallNames, 'model' | 'provider'>): string {
  return model === 'simulated' ? model : `${provider}/${model}`;
}

/** What waits in a call, with what has gone through its stages in all of its sessions. */
function figuresOf({ call, stages }: Pick<RunningCall, 'call' | 'stages'>): CallFigures {
  return { ...call.figures, stages: stages.figures };
}

function addStages(
  sum: Record<StageName, StageTotals>,
  { stages: { figures } }: Pick<RunningCall, 'stages'>,
): void {
  for (const each of figures) sum[each.stage] = sumOfStage(sum[each.stage], each);
}

/** What the log's line of a call says of its stages; `undefined`: it had none. */
function stagesText({
  stages: { figures },
}: Pick<RunningCall, 'stages'>): Partial<Record<StageName, object>> | undefined {
  if (figures.length === 0) return undefined;
  return Object.fromEntries(
    figures.map(({ busyMs, characters, doneMs, droppedMs, errors, stage, waitedMs }) => {
      const whole = { busyMs, doneMs, droppedMs, waitedMs: waitedMs ?? 0 };
      const rounded = Object.entries(whole).map(([name, ms]) => [name, Math.round(ms)] as const);
      return [stage, { ...Object.fromEntries(rounded), errors, ...(characters > 0 ? { characters } : {}) }];
    }),
  );
}

function add(sum: { -readonly [Name in keyof CallCounts]: number }, one: CallCounts): void {
  sum.interruptions += one.interruptions;
  sum.underruns += one.underruns;
  sum.droppedMs += one.droppedMs;
  sum.lostMs += one.lostMs;
  sum.reopened += one.reopened;
}
