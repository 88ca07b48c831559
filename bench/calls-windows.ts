import { fileURLToPath } from 'node:url';
import { serveSimulatedModels } from '@spillway/voice/simulate/model';
import { type BadLinkCall, callOverBadLink } from '../packages/gateway/test/support/bad-link-calls.ts';
import { printed, spawnNode } from '../packages/gateway/test/support/spawn.ts';
import { quantile } from './programs.ts';

const windowsMs = [200, 400, 600, 800, 1000, 2000] as const;
/** In percent, of the packets of each direction. */
const losses = [0, 1, 5] as const;
const delayMs = 50;
const calls = 8;
const turns = 5;
const listenMs = 4000;

/**
 * What a window is good for, and what it costs: how often an ear has nothing to play, and how long an old answer is heard on
 * after the human begins to speak, over links that delay and lose. Needs Linux, root, and Debian's `vde2` and `vde-wirefilter`.
 */
export async function callsWindows(): Promise<void> {
  console.log(
    `${calls} calls at once over each link of ${2 * delayMs} ms there and back; each human speaks ${turns} times, after ${listenMs / 1000} s of an answer.`,
  );
  const models = await serveSimulatedModels();
  try {
    for (const windowMs of windowsMs) {
      const program = fileURLToPath(new URL('calls/library-bridge.ts', import.meta.url));
      const command = spawnNode(program, [`${models.url}?model=simulated`, `${windowMs}`]);
      try {
        const port = Number(new URL(await printed(command, /listening on (\S+)/)).port);
        // Neither link outlives another one's failure.
        const asked = losses.map((loss, index) =>
          callOverBadLink({
            filter: ['-d', `${delayMs}`, '-l', `${loss}`],
            index,
            port,
            path: '/',
            calls,
            turns,
            listenMs,
          }),
        );
        await Promise.allSettled(asked);
        for (const [index, found] of (await Promise.all(asked)).entries())
          console.log(`window ${`${windowMs}`.padStart(4)} ms, ${losses[index]} % loss: ${report(found)}`);
      } finally {
        command.process.kill();
        await command.exited;
      }
    }
  } finally {
    await models.close();
  }
}

function report(found: readonly BadLinkCall[]): string {
  const minutes = found.reduce((sum, { figures }) => sum + figures.heardMs, 0) / 60_000;
  const gaps = found.flatMap((call) => call.gaps);
  const quietMs = found.flatMap(({ figures }) =>
    figures.interruptions.map(({ quietAfterMs }) => quietAfterMs),
  );
  const answersMs = found.flatMap(({ figures }) => figures.answers.map(({ afterMs }) => afterMs));
  const silentS = gaps.reduce((sum, { ms }) => sum + ms, 0) / 1000;
  return [
    `${(gaps.length / minutes).toFixed(1)} underruns and ${(silentS / minutes).toFixed(2)} s of silence a minute of speech (${minutes.toFixed(1)} min)`,
    `heard on for ${spread(quietMs)} ms (${quietMs.length})`,
    `answers after ${spread(answersMs)} ms (${answersMs.length})`,
    `at most ${Math.max(...found.map(({ maxBufferedMs }) => maxBufferedMs)).toFixed(0)} ms at the carrier`,
  ].join(', ');
}

function spread(values: readonly number[]): string {
  return [0.5, 0.99, 1].map((q) => quantile(values, q).toFixed(0)).join(' / ');
}
