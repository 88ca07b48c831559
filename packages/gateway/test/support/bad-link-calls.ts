import { fileURLToPath } from 'node:url';
import { openBadLink } from './bad-link.ts';
import type { BadLinkCallers, CallerTruth } from './bad-link-callers.ts';
import { delaysOf, longestDelayMs } from './link-delays.ts';
import { type Command, spawnNode } from './spawn.ts';
import { openTimedPipe, type PassedBytes } from './timed-pipe.ts';

/** A silence in an answer, and what the link did to it. */
interface EarGap {
  /** On the call's clock. */
  readonly atMs: number;
  readonly ms: number;
  /** Whether what ended it was on its way already when the ear had nothing more: nobody could have been sooner. */
  readonly wasOnItsWay: boolean;
  /** The longest way there and the longest way back in the two seconds before: what a mark has taken at most. */
  readonly roundTripMs: number;
}

/** A call over a bad link. */
export interface BadLinkCall extends CallerTruth {
  readonly gaps: readonly EarGap[];
}

/** A link, and who calls over it. */
export interface BadLinkCallsOptions extends Omit<BadLinkCallers, 'host' | 'port'> {
  /** Of `wirefilter`. */
  readonly filter: readonly string[];
  readonly index?: number;
  /** Where calls are taken, on loopback. */
  readonly port: number;
}

/** What has become due for an ear by way of a mark may have been decided so long before. */
const backMs = 2000;
/** A frame goes through two pipes. */
const pipeMs = 2;

/** Calls from the far end of a bad link, which begins behind a pipe: nobody else on it can be reached. */
export async function callOverBadLink({
  filter,
  index = 0,
  port,
  ...callers
}: BadLinkCallsOptions): Promise<readonly BadLinkCall[]> {
  const link = await openBadLink(filter, index);
  let command: Command | undefined;
  try {
    const pipe = await openTimedPipe({
      listenHost: link.address,
      host: '127.0.0.1',
      port,
      isBefore: false,
    });
    try {
      const program = fileURLToPath(new URL('bad-link-callers.ts', import.meta.url));
      const asked: BadLinkCallers = { ...callers, host: link.address, port: pipe.port };
      command = spawnNode(program, [JSON.stringify(asked)], { prefix: link.inside });
      const { process: child } = command;
      const code = await new Promise((resolve) => child.once('close', resolve));
      if (code !== 0) throw new Error(`the callers exited with ${String(code)}: ${command.stderr()}`);
      const truths = JSON.parse(command.stdout()) as readonly CallerTruth[];
      return truths.map((truth) => ({ ...truth, gaps: gapsOf(truth, pipe.passed) }));
    } finally {
      await pipe.close();
    }
  } finally {
    command?.process.kill('SIGKILL');
    link.close();
  }
}

function gapsOf({ figures, passed: far, startedMs }: CallerTruth, all: readonly PassedBytes[]): EarGap[] {
  const near = all.find(({ port }) => port === far?.port);
  if (far === undefined || near === undefined) throw new Error('The link does not know the connection.');
  const down = delaysOf(near.down, far.down);
  const up = delaysOf(far.up, near.up);
  return figures.gaps.map(({ atMs, ms }) => {
    const dryMs = startedMs + atMs;
    const endMs = dryMs + ms + pipeMs;
    const ended = down.findLast((delay) => delay.atMs <= endMs);
    return {
      atMs,
      ms,
      wasOnItsWay: ended !== undefined && ended.atMs - ended.ms <= dryMs,
      roundTripMs: longestDelayMs(down, endMs - backMs, endMs) + longestDelayMs(up, endMs - backMs, endMs),
    };
  });
}
