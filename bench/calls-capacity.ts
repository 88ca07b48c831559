import { speech } from '@spillway/voice/simulate/speech';
import { type Bridge, bridges } from './calls/bridges.ts';
import { CallLoad } from './calls/call-load.ts';
import { place } from './placement.ts';
import { memoryOf, quantile } from './programs.ts';
import { cpuUsOf } from './usage.ts';
import { maxLoadShare, sleep } from './workload.ts';

const firstCalls = 50;
const stepCalls = 50;
const settleMs = 2000;
const measureMs = 5000;
/** A frame that comes later than the next one is due holds up the one behind it. */
const maxP99Ms = 20;
/** So many seconds of speech, a little faster than it is played: everybody hears it while they are measured. */
const speechS = 300;
const speed = 1.5;

/**
 * How many calls one core holds, in which caller and model speak all the time: as many as there are before one caller's frame in a
 * hundred comes to its model more than 20 ms late, or ears have nothing to play.
 */
export async function callsCapacity(): Promise<void> {
  const { description, system: prefix } = place();
  console.log(
    `Each bridge ${description}. ${stepCalls} calls more at a time, each step ${measureMs / 1000} s.`,
  );
  for (const bridge of bridges) {
    console.log(`\n${bridge.name}`);
    await measure(bridge, prefix);
  }
}

async function measure(bridge: Bridge, prefix: readonly string[]): Promise<void> {
  const clip = speech('model-events');
  const audio = Buffer.alloc(speechS * 8000);
  for (let at = 0; at < audio.byteLength; at += clip.audio.byteLength)
    audio.set(clip.audio.subarray(0, audio.byteLength - at), at);
  const load = await CallLoad.open({ greeting: { text: clip.text, audio }, speed });
  const program = await bridge.start(load.modelUrl, prefix);
  const pid = program.command.process.pid ?? 0;
  const emptyBytes = memoryOf(program);
  try {
    for (let calls = firstCalls; ; calls += stepCalls) {
      while (load.calls < calls) await load.call(program.url);
      await sleep(settleMs);
      const before = {
        us: cpuUsOf(pid),
        own: process.cpuUsage(),
        atMs: performance.now(),
        underruns: load.underruns,
        sent: load.sent,
      };
      load.agesUs.length = 0;
      await sleep(measureMs);
      const ms = performance.now() - before.atMs;
      const own = process.cpuUsage(before.own);
      const share = (cpuUsOf(pid) - before.us) / 1000 / ms;
      const loadShare = (own.user + own.system) / 1000 / ms;
      const [p50, p99] = [0.5, 0.99].map((q) => quantile(load.agesUs, q) / 1000);
      const missing = load.sent - before.sent - load.agesUs.length;
      const underruns = (load.underruns - before.underruns) / ((calls * ms) / 60_000);
      console.log(
        `${String(calls).padStart(5)} calls: frames ${p50?.toFixed(1)} / ${p99?.toFixed(1)} ms old at the model, ${missing} not there yet, ` +
          `${underruns.toFixed(1)} underruns a minute of a call, ${(share * 100).toFixed(0)} % of its core, ${((share * 1e6) / calls / 1000).toFixed(2)} ms CPU a second of a call, ` +
          `${((memoryOf(program) - emptyBytes) / calls / 1024).toFixed(0)} kB a call; the load ${(loadShare * 100).toFixed(0)} % of its core`,
      );
      if (load.failures > 0) console.log(`  ${load.failures} calls have ended: that is too many`);
      if (loadShare > maxLoadShare) console.log('  the load is the limit');
      if (
        !(p99 !== undefined && p99 <= maxP99Ms) ||
        underruns > 1 ||
        load.failures > 0 ||
        loadShare > maxLoadShare
      )
        return;
    }
  } finally {
    program.command.process.kill();
    await load.close();
  }
}
