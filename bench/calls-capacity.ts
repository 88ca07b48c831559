import { type Speech, speech } from '@spillway/voice/simulate/speech';
import { type Bridge, bridges } from './calls/bridges.ts';
import { CallLoad } from './calls/call-load.ts';
import { type Placement, place } from './placement.ts';
import { memoryOf, type Program, quantile } from './programs.ts';
import {
  disturbed,
  maxLoadShare,
  maxOthersShare,
  sleep,
  type Spent,
  startCount,
  undisturbed,
} from './workload.ts';

const firstCalls = 50;
const stepCalls = 50;
const settleMs = 2000;
const measureMs = 5000;
/** A frame that comes later than the next one is due holds up the one behind it. */
const maxP99Ms = 20;
const maxUnderruns = 1;
/** So many seconds of speech, a little faster than it is played: everybody hears it while they are measured. */
const speechS = 300;
const speed = 1.5;

/**
 * How many calls one core holds, in which caller and model speak all the time: as many as there are before one caller's frame in a
 * hundred comes to its model more than 20 ms late, or ears have nothing to play.
 */
export async function callsCapacity(): Promise<void> {
  const placement = place();
  console.log(
    `Each bridge ${placement.description}. ${stepCalls} calls more at a time, each step ${measureMs / 1000} s.`,
  );
  for (const bridge of bridges) {
    console.log(`\n${bridge.name}`);
    await measure(bridge, placement);
  }
}

/** What was found with so many calls. */
interface Step {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of each minute of a call. */
  readonly underruns: number;
  readonly bytesOfCall: number;
  readonly spent: Spent;
}

async function measure(bridge: Bridge, placement: Placement): Promise<void> {
  const load = await CallLoad.open({ greeting: longSpeech(), speed });
  const program = await bridge.start(load.modelUrl, placement.system);
  const emptyBytes = memoryOf(program);
  try {
    for (let calls = firstCalls; ; calls += stepCalls) {
      while (load.calls < calls) await load.call(program.url);
      await sleep(settleMs);
      const step = await undisturbed(() => look(load, { program, placement, emptyBytes }));
      print(calls, step);
      if (load.failures > 0) console.log(`       ${load.failures} calls have ended by themselves`);
      const isHeld = step.p99Ms <= maxP99Ms && step.underruns <= maxUnderruns && load.failures === 0;
      if (!isHeld || step.spent.loadShare > maxLoadShare) return;
    }
  } finally {
    program.command.process.kill();
    await load.close();
  }
}

async function look(
  load: CallLoad,
  { emptyBytes, placement, program }: { emptyBytes: number; placement: Placement; program: Program },
): Promise<Step> {
  const stop = startCount({ placement, program });
  const { underruns } = load;
  load.agesUs.length = 0;
  await sleep(measureMs);
  const spent = stop();
  return {
    p50Ms: quantile(load.agesUs, 0.5) / 1000,
    p99Ms: quantile(load.agesUs, 0.99) / 1000,
    underruns: (load.underruns - underruns) / (load.calls * (spent.seconds / 60)),
    bytesOfCall: (memoryOf(program) - emptyBytes) / load.calls,
    spent,
  };
}

function print(calls: number, { bytesOfCall, p50Ms, p99Ms, spent, underruns }: Step): void {
  const columns = [
    `frames ${p50Ms.toFixed(1)} / ${p99Ms.toFixed(1)} ms old at the model`,
    `${underruns.toFixed(1)} underruns a minute of a call`,
    `${(spent.systemShare * 100).toFixed(0)} % of its core`,
    `${(spent.systemUs / 1000 / spent.seconds / calls).toFixed(2)} ms CPU a second of a call`,
    `${(bytesOfCall / 1024).toFixed(0)} kB a call`,
    `the load ${(spent.loadShare * 100).toFixed(0)} % of its core`,
    ...(spent.loadShare > maxLoadShare ? ['the load is the limit'] : []),
    ...(spent.othersShare > maxOthersShare ? [disturbed] : []),
  ];
  console.log(`${String(calls).padStart(5)} calls: ${columns.join(', ')}`);
}

function longSpeech(): Speech {
  const { audio, text } = speech('model-events');
  const all = Buffer.alloc(speechS * 8000);
  for (let at = 0; at < all.byteLength; at += audio.byteLength)
    all.set(audio.subarray(0, all.byteLength - at), at);
  return { text, audio: all };
}
