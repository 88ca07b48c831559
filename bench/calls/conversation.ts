import { bytesOfMs, telephoneAudio } from '@spillway/core/audio';
import { type CallRecord, figuresOf, placeCall, type SimulatedCall } from '@spillway/voice/simulate/carrier';
import type { SimulatedModelOptions, SimulatedModelTruth } from '@spillway/voice/simulate/model';
import { speech } from '@spillway/voice/simulate/speech';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { loudPart } from '../../packages/gateway/test/support/loud-part.ts';
import { authToken } from './bridges.ts';
import type { WatchedModel, WatchedModels } from './watched-models.ts';

const frameMs = 20;

/** The founding case: four seconds of speech that are made in 600 ms. */
const answerMs = 4000;
const answer = {
  text: speech('model-events').text,
  // Words at once: what an ear hears first is a word, whether audio comes in frames or in pieces.
  audio: loudPart(speech('model-events').audio).subarray(0, bytesOfMs(telephoneAudio, answerMs)),
};
export const foundingModel: SimulatedModelOptions = {
  greeting: answer,
  script: [{ heard: speech('caller-interruption').text, says: answer }],
  speed: answerMs / 600,
  thinkMs: 300,
};

/** The human speaks into an answer after so much of it, and at moments that have nothing to do with pieces and marks. */
const minListenMs = 1200;
const listenRangeMs = 800;
const withinMs = 20_000;

/** What a conversation was measured to be. */
export interface ConversationFigures {
  /** Of each interruption: from the model's word for it until nothing of the old answer was heard any more. */
  readonly heardOnMs: readonly number[];
  /** Of each: what the model was told that was heard, less what was. */
  readonly toldWrongMs: readonly number[];
  /** Of each answer: what the bridge has added on both ways, from the mouth to the model and from there to the ear. */
  readonly addedMs: readonly number[];
  readonly maxBufferedMs: number;
}

/** Calls a bridge, and speaks into its answer so often. */
export async function converse(
  url: string,
  models: Pick<WatchedModels, 'next'>,
  { seed, turns }: { readonly turns: number; readonly seed: number },
): Promise<{ readonly opened: Promise<void>; readonly figures: Promise<ConversationFigures> }> {
  const model = models.next();
  const signing = url.startsWith('http') ? { authToken } : {};
  const call = await placeCall(url, { connectTimeoutMs: withinMs, ...signing });
  const startedMs = performance.now() - call.nowMs;
  const figures = talk(call, turns, seed).then(async (record) => measured(record, await model, startedMs));
  return { opened: model.then(() => undefined), figures };
}

async function talk(call: SimulatedCall, turns: number, seed: number): Promise<CallRecord> {
  const words = loudPart(speech('caller-interruption').audio);
  const chance = new VirtualClock({ seed });
  const listenMs = (): number => minListenMs + chance.random() * listenRangeMs;
  await call.whenHeard(listenMs(), withinMs);
  for (let turn = 0; turn < turns; turn += 1) {
    call.say(words);
    await call.whenSaid();
    const beforeMs = call.heardMs;
    await call.whenHeard(beforeMs + listenMs(), withinMs);
  }
  call.hangUp();
  return call.ended;
}

function measured(
  record: CallRecord,
  { model, noticedMs, spokeMs, words }: WatchedModel,
  startedMs: number,
): ConversationFigures {
  const { answers, interruptions } = figuresOf(record);
  const heardOnMs: number[] = [];
  const toldWrongMs: number[] = [];
  let fromMs = 0;
  for (const [index, said] of record.said.entries()) {
    // Where the human begins in a pause of the answer, nobody is interrupted.
    const interruption = interruptions.find(({ saidAtMs }) => saidAtMs === said.atMs);
    const quietMs = said.atMs + (interruption?.quietAfterMs ?? said.ms);
    if (interruption !== undefined) {
      const noticed = noticedMs.find((atMs) => atMs >= startedMs + said.atMs);
      heardOnMs.push(Math.max(0, startedMs + quietMs - (noticed ?? Number.NaN)));
      toldWrongMs.push(toldOf(model.truth, index) - playedMs(record, fromMs, quietMs));
    }
    fromMs = quietMs;
  }
  const addedMs = answers.map(({ afterMs, saidAtMs }, index) => {
    const { ms = Number.NaN } = record.said.find(({ atMs }) => atMs === saidAtMs) ?? {};
    const lastFrameMs = startedMs + saidAtMs + (Math.ceil(ms / frameMs) - 1) * frameMs;
    const toModelMs = (words[index]?.lastMs ?? Number.NaN) - lastFrameMs;
    // The greeting is nobody's answer.
    const toEarMs = startedMs + saidAtMs + ms + afterMs - (spokeMs[index + 1] ?? Number.NaN);
    return toModelMs + toEarMs;
  });
  const { maxBufferedMs } = record;
  return { heardOnMs, toldWrongMs, addedMs, maxBufferedMs };
}

/** What the model believes that was heard of its answer with this number, from 0. */
export function toldOf(
  truth: Pick<SimulatedModelTruth, 'deletions' | 'responses' | 'truncations'>,
  index: number,
): number {
  const spoken = truth.responses.filter(({ itemId }) => itemId !== undefined)[index];
  if (spoken?.itemId === undefined) return Number.NaN;
  const { itemId, madeMs } = spoken;
  if (truth.deletions.includes(itemId)) return 0;
  return truth.truncations.findLast((one) => one.itemId === itemId)?.audioEndMs ?? madeMs;
}

function playedMs({ played }: Pick<CallRecord, 'played'>, fromMs: number, toMs: number): number {
  return played.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).reduce((sum, { ms }) => sum + ms, 0);
}
