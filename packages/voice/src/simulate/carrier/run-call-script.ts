import { SpillwayError } from '@spillway/core';
import type { Clock } from '@spillway/core/clock';
import { type CallRecord, type CallRecordFigures, figuresOf } from './call-record.ts';
import type { CallScript, CallScriptStep } from './call-script.ts';
import { ClipSearch } from './clip-search.ts';
import { placeCall } from './place-call.ts';
import type { SimulatedCall } from './simulated-call.ts';

/** How a script is run. */
export interface RunCallScriptOptions {
  /** The URL of a socket or a webhook. Default: the script's own. */
  readonly url?: string | undefined;
  /** Reads a clip by its name: µ-law, 8,000 samples a second. All are read before the call. */
  readonly readClip: (name: string) => Promise<Uint8Array>;
  /** Signs the requests as Twilio does. */
  readonly authToken?: string | undefined;
  /** Called when a step is over. */
  readonly onStep?: (outcome: CallOutcome) => void;
  /** Hangs up when it is aborted: the step that runs fails. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock | undefined;
}

/** What came of a step, or of something that has to be true of the whole call. */
export interface CallOutcome {
  /** Such as `2. hear 500 ms`. */
  readonly name: string;
  readonly isOk: boolean;
  /** What was seen. */
  readonly detail: string;
}

/** What came of a script. */
export interface CallReport {
  /** Whether all steps and expectations hold, and nothing was refused. */
  readonly isOk: boolean;
  /** The steps until the first one that failed, and then the expectations. */
  readonly outcomes: readonly CallOutcome[];
  readonly figures: CallRecordFigures;
  readonly record: CallRecord;
}

/** How often a clip is looked for. */
const lookEveryMs = 200;

/**
 * Runs a conversation with a bridge, and says what of it did not hold. The first step that fails ends it.
 *
 * @throws {SpillwayError} `call_refused`: nobody takes the call. `invalid_option`: there is no URL. What `readClip` throws.
 */
export async function runCallScript(script: CallScript, options: RunCallScriptOptions): Promise<CallReport> {
  const { authToken, clock, onStep, readClip, signal, url = script.url } = options;
  if (url === undefined)
    throw new SpillwayError('invalid_option', 'url: expected one in the script or beside it');
  const clips = new Map<string, Uint8Array>();
  for (const { hear, say } of script.steps) {
    const name = say?.clip ?? hear?.clip;
    if (name !== undefined && !clips.has(name)) clips.set(name, await readClip(name));
  }
  const { link, maxDurationMs, parameters } = script;
  const call = await placeCall(url, {
    link,
    maxDurationMs,
    parameters,
    ...(authToken === undefined ? {} : { authToken }),
    ...(clock === undefined ? {} : { clock }),
  });
  const hangUp = (): void => call.hangUp();
  signal?.addEventListener('abort', hangUp, { once: true });
  if (signal?.aborted === true) hangUp();
  const outcomes: CallOutcome[] = [];
  for (const [index, step] of script.steps.entries()) {
    const { detail, isOk, name } = await run(call, step, clips);
    const outcome = { name: `${index + 1}. ${name}`, isOk, detail };
    outcomes.push(outcome);
    onStep?.(outcome);
    if (!isOk) break;
  }
  call.hangUp();
  const record = await call.ended;
  signal?.removeEventListener('abort', hangUp);
  const figures = figuresOf(record);
  const ofWhole = [...interruptionsOf(script, figures, record), ...expectationsOf(script, figures, record)];
  for (const outcome of ofWhole) onStep?.(outcome);
  outcomes.push(...ofWhole);
  return { isOk: outcomes.every(({ isOk }) => isOk), outcomes, figures, record };
}

async function run(
  call: SimulatedCall,
  { hear, press, quiet, say, wait }: CallScriptStep,
  clips: ReadonlyMap<string, Uint8Array>,
): Promise<CallOutcome> {
  const beganMs = call.nowMs;
  const seen = (isOk: boolean, what: string): { readonly isOk: boolean; readonly detail: string } => ({
    isOk,
    detail: call.isOver ? `${what}: the call has ended` : what,
  });
  const took = (): string => `${Math.round(call.nowMs - beganMs)} ms`;
  if (hear?.clip !== undefined) {
    const share = await hearClip(call, clips.get(hear.clip) ?? new Uint8Array(), hear.share, hear.within);
    const what = `${Math.round(share * 100)} % after ${took()}`;
    return { name: `hear ${hear.clip}`, ...seen(share >= hear.share, what) };
  }
  if (hear !== undefined) {
    const isOk = await call.whenHeard(hear.ms ?? 1, hear.within);
    return {
      name: `hear ${hear.ms ?? 1} ms`,
      ...seen(isOk, `${Math.round(call.heardMs)} ms after ${took()}`),
    };
  }
  if (say !== undefined) {
    call.say(clips.get(say.clip) ?? new Uint8Array());
    const isOk = say.wholly ? await call.whenSaid() : !call.isOver;
    return { name: `say ${say.clip}`, ...seen(isOk, `in ${took()}`) };
  }
  if (quiet !== undefined) {
    const isOk = await call.whenQuiet(quiet.ms, quiet.within);
    return { name: `quiet for ${quiet.ms} ms`, ...seen(isOk, `after ${took()}`) };
  }
  if (press !== undefined) {
    for (const digit of press) call.press(digit);
    return { name: `press ${press}`, ...seen(!call.isOver, 'sent') };
  }
  await call.wait(wait ?? 0);
  return { name: `wait ${wait ?? 0} ms`, ...seen(!call.isOver, `for ${took()}`) };
}

/** Waits until so much of a clip was heard since the human last began to speak, and returns how much was. */
async function hearClip(
  call: SimulatedCall,
  clip: Uint8Array,
  share: number,
  withinMs: number,
): Promise<number> {
  const search = new ClipSearch(clip);
  const untilMs = call.nowMs + withinMs;
  const fromMs = call.said.at(-1)?.atMs ?? 0;
  for (;;) {
    search.look(Buffer.concat(call.played.filter(({ atMs }) => atMs >= fromMs).map(({ audio }) => audio)));
    if (search.share >= share || call.isOver || call.nowMs >= untilMs) return search.share;
    await call.wait(Math.min(lookEveryMs, untilMs - call.nowMs));
  }
}

/** What the steps that interrupt have promised: known when the call is over. */
function interruptionsOf(
  script: CallScript,
  figures: CallRecordFigures,
  { said }: CallRecord,
): CallOutcome[] {
  const says = script.steps.flatMap(({ say }) => (say === undefined ? [] : [say]));
  return says.flatMap(({ clip, quietWithin }, index) => {
    const one = said[index];
    if (quietWithin === undefined || one === undefined) return [];
    const name = `${clip}: quiet within ${quietWithin} ms`;
    const interruption = figures.interruptions.find(({ saidAtMs }) => saidAtMs === one.atMs);
    if (interruption === undefined)
      return [{ name, isOk: false, detail: 'nothing was heard when it was begun, so it interrupts nothing' }];
    const { isHeardToEnd, quietAfterMs } = interruption;
    const after = `after ${Math.round(quietAfterMs)} ms`;
    const detail = isHeardToEnd ? `it was still heard ${after}, when the call ended` : after;
    return [{ name, isOk: !isHeardToEnd && quietAfterMs <= quietWithin, detail }];
  });
}

function expectationsOf(script: CallScript, figures: CallRecordFigures, record: CallRecord): CallOutcome[] {
  const { firstHeardWithin, maxBufferedMs, maxGaps } = script.expect;
  const outcomes: CallOutcome[] = record.refusals.map(({ code, message }) => ({
    name: 'nothing that a carrier refuses',
    isOk: false,
    detail: `${code}: ${message}`,
  }));
  if (maxBufferedMs !== undefined)
    outcomes.push({
      name: `at most ${maxBufferedMs} ms at the carrier`,
      // Durations are sums of fractions of milliseconds.
      isOk: record.maxBufferedMs <= maxBufferedMs + 0.5,
      detail: `${Math.round(record.maxBufferedMs)} ms`,
    });
  if (maxGaps !== undefined)
    outcomes.push({
      name: `at most ${maxGaps} gaps`,
      isOk: figures.gaps.length <= maxGaps,
      detail: `${figures.gaps.length}`,
    });
  if (firstHeardWithin !== undefined) {
    const { firstHeardMs } = figures;
    outcomes.push({
      name: `the first sound within ${firstHeardWithin} ms`,
      isOk: firstHeardMs !== undefined && firstHeardMs <= firstHeardWithin,
      detail: firstHeardMs === undefined ? 'there was none' : `after ${Math.round(firstHeardMs)} ms`,
    });
  }
  return outcomes;
}
