import { type Bridge, bridges } from './calls/bridges.ts';
import { type ConversationFigures, converse, foundingModel } from './calls/conversation.ts';
import { serveWatchedModels } from './calls/watched-models.ts';
import { place } from './placement.ts';
import { memoryOf, quantile } from './programs.ts';
import { cpuUsOf } from './usage.ts';
import { sleep } from './workload.ts';

/** Calls at once, and how often each human speaks into an answer. */
const loads = [
  [1, 8],
  [50, 2],
] as const;
/** So long after the other do calls begin, so that they do not say the same at the same moment. */
const apartMs = 83;
/** A process that was just started compiles itself. */
const warmUpCalls = 10;

/**
 * Calls between a carrier's double and a model's: how long an interrupted answer is heard on, how wrong the model is about what was
 * heard, what a bridge adds from the mouth to the ear, and what memory and CPU a call takes; of ours, beside others.
 */
export async function calls(): Promise<void> {
  const { description, system: prefix } = place();
  console.log(
    `Each bridge ${description}. Of each answer of 4 s, made in 0.6 s, 1.2 to 2 s are heard before the human speaks.`,
  );
  for (const [count, turns] of loads) {
    console.log(`\n${count === 1 ? 'one call' : `${count} calls`}`);
    const measureOne = (bridge: Bridge): Promise<string> => measure(bridge, prefix, count, turns);
    // One call disturbs nobody.
    const together = count === 1 ? await Promise.all(bridges.map(measureOne)) : [];
    for (const [index, bridge] of bridges.entries())
      console.log(`${bridge.name.padEnd(26)} ${together[index] ?? (await measureOne(bridge))}`);
  }
}

async function measure(
  bridge: Bridge,
  prefix: readonly string[],
  count: number,
  turns: number,
): Promise<string> {
  const models = await serveWatchedModels(foundingModel);
  const program = await bridge.start(models.url, prefix);
  const run = async (so: number, often: number): Promise<readonly ConversationFigures[]> => {
    const running: Promise<ConversationFigures>[] = [];
    for (let index = 0; index < so; index += 1) {
      const { figures, opened } = await converse(program.url, models, { turns: often, seed: index });
      running.push(figures);
      await opened;
      await sleep(apartMs);
    }
    return await Promise.all(running);
  };
  try {
    await run(warmUpCalls, 1);
    const pid = program.command.process.pid ?? 0;
    const before = { bytes: memoryOf(program), us: cpuUsOf(pid), atMs: performance.now() };
    let mostBytes = 0;
    const looking = setInterval(() => (mostBytes = Math.max(mostBytes, memoryOf(program))), 200);
    const all = await run(count, turns);
    clearInterval(looking);
    const share = (cpuUsOf(pid) - before.us) / 1000 / (performance.now() - before.atMs);
    const columns = [
      between(
        'heard on',
        all.flatMap(({ heardOnMs }) => heardOnMs),
      ),
      `told wrong by ${quantiles(
        all.flatMap(({ toldWrongMs }) => toldWrongMs),
        [0, 0.5, 1],
      )} ms`,
      between(
        'added',
        all.flatMap(({ addedMs }) => addedMs),
        1,
      ),
      `${Math.max(...all.map(({ maxBufferedMs }) => maxBufferedMs)).toFixed(0)} ms at the carrier`,
      // What a process grows by once is more than one call takes.
      ...(count === 1 ? [] : [`${((mostBytes - before.bytes) / count / 1024).toFixed(0)} kB a call`]),
      `${(share * 100).toFixed(0)} % of a core`,
    ];
    return columns.join(', ');
  } finally {
    program.command.process.kill();
    await models.close();
  }
}

/** The median, the 99th percentile and the largest. */
function between(name: string, values: readonly number[], digits = 0): string {
  return `${name} ${quantiles(values, [0.5, 0.99, 1], digits)} ms (${values.length})`;
}

function quantiles(values: readonly number[], which: readonly number[], digits = 0): string {
  return which.map((q) => quantile(values, q).toFixed(digits)).join(' / ');
}
