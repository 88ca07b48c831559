import { msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { OpenedCascade } from '../packages/voice/test/support/opened-cascade.ts';
import { msPerCharacter } from '../packages/voice/test/support/scripted-stages.ts';
import { quantile } from './programs.ts';

const calls = 200;
/** So much of an answer is wanted: the human speaks into it after that. */
const firstMs = 1000;
const lastMs = 20_000;
/** What the ear may have to play when the next sentence is asked for; the last one is all at once. */
const thresholds = [0, 400, 800, 1500, 3000, 60_000];

/** Of one call. */
interface Interrupted {
  readonly paid: number;
  readonly heard: number;
  readonly droppedMs: number;
  readonly silenceMs: number;
  readonly pauses: number;
}

/**
 * What a speaker is paid for and nobody hears, when a human speaks into an answer of half a minute after 1 to 20 s of it, by how much the
 * ear has left when the next sentence is asked for; and what that costs in pauses. On a virtual clock: the same each time. The speaker
 * is five times as fast as speech, with its first audio after 200 ms; the ear is 50 ms away.
 */
export async function cascadeSentences(): Promise<void> {
  console.log(`${calls} calls each; medians and p95. Characters that were paid for, and heard.`);
  for (const unheardMs of thresholds) {
    const all: Interrupted[] = [];
    for (let seed = 1; seed <= calls; seed += 1) all.push(await interrupt(unheardMs, seed));
    const of = (value: (one: Interrupted) => number): string =>
      [0.5, 0.95].map((part) => quantile(all.map(value), part).toFixed(0)).join(' / ');
    const sum = (value: (one: Interrupted) => number): number =>
      all.reduce((total, one) => total + value(one), 0);
    console.log(
      `${unheardMs === 60_000 ? 'all at once' : `${unheardMs} ms left`}: paid ${of(({ paid }) => paid)}, ` +
        `wasted ${(100 * (1 - sum(({ heard }) => heard) / sum(({ paid }) => paid))).toFixed(0)} %, ` +
        `thrown away ${of(({ droppedMs }) => droppedMs)} ms, ` +
        `a pause of ${(
          sum(({ silenceMs }) => silenceMs) /
          Math.max(
            1,
            sum(({ pauses }) => pauses),
          )
        ).toFixed(0)} ms between two sentences`,
    );
  }
}

async function interrupt(unheardMs: number, seed: number): Promise<Interrupted> {
  const opened = new OpenedCascade({ unheardMs, speakTimeoutMs: 60_000 });
  const random = new VirtualClock({ seed });
  opened.speaker.speed = 5;
  opened.speaker.firstMs = 200;
  opened.reasoner.answers.push([
    Array.from({ length: 10 }, () => sentence(40 + random.random() * 60)).join(' '),
  ]);
  await opened.say(1000, 'Tell me.');
  const { played } = opened.carrier.ear;
  while (played.length === 0) await opened.clock.advance(1);
  const beganMs = opened.clock.nowMs();
  await opened.clock.advance(firstMs + random.random() * (lastMs - firstMs));
  const pauses = opened.spoken.length - 1;
  // The ear plays or has nothing.
  const silenceMs = opened.clock.nowMs() - beganMs - msOfBytes(telephoneAudio, played.length);
  await opened.say(600, 'Stop.');
  await opened.clock.advance(2000);
  const { droppedMs, stages } = opened.call.figures;
  const heardMs = msOfBytes(telephoneAudio, played.length);
  opened.call.close();
  return {
    paid: stages.find(({ stage }) => stage === 'speak')?.characters ?? 0,
    heard: heardMs / msPerCharacter,
    droppedMs,
    silenceMs: Math.max(0, silenceMs),
    pauses,
  };
}

/** A sentence of so many characters. */
function sentence(length: number): string {
  return `${'words '.repeat(length / 6).trim()}.`;
}
