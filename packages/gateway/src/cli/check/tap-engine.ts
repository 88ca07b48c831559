import type { EngineSink } from '@spillway/core/engine';
import type { EngineKind } from '../../config/engine-url.ts';
import { type ConfiguredTap, leastDurability } from '../../config/tap.ts';
import { loadEngine } from '../../tap/load-engine.ts';
import { unfitness } from '../../tap/unfitness.ts';
import type { Judgement } from './finding.ts';

/** How long an engine may take to be opened, and for each question. */
const timeoutMs = 5000;

/** What the engine of a tap says of itself, and whether it is as good as the tap asks for. No record is written. */
export async function engineJudged(tap: ConfiguredTap, kind: EngineKind): Promise<Judgement[]> {
  try {
    const open = await loadEngine(kind);
    const engine = await open({
      url: tap.to,
      password: tap.password,
      openTimeoutMs: timeoutMs,
      isTrial: true,
    });
    try {
      return [...factsJudged(tap, engine), ...(await groupsJudged(tap, engine))];
    } finally {
      await engine.close();
    }
  } catch (error) {
    return [{ status: 'fail', message: `It cannot write there: ${reasonOf(error)}` }];
  }
}

function factsJudged(tap: ConfiguredTap, engine: EngineSink): Judgement[] {
  const { address, durability, facts } = engine;
  const problem = unfitness(tap, engine);
  const is = `${address} answers: ${facts.engine}. A kept record is worth ${durability}`;
  const kept = `${is}: ${sentence(facts.durability)}`;
  const untried = facts.untried === undefined ? '' : ` ${sentence(facts.untried)}`;
  const asked = `The tap asks for ${leastDurability(tap)} or more. ${sentence(facts.duplicates)}`;
  return [
    problem === undefined
      ? { status: 'ok', message: `${kept} ${asked}${untried}` }
      : {
          status: 'fail',
          message: `${address} answers: ${facts.engine}. It is not good enough: ${problem}.`,
        },
    ...facts.warnings.map((warning): Judgement => ({ status: 'warn', message: sentence(warning) })),
  ];
}

async function groupsJudged({ groups = [] }: ConfiguredTap, engine: EngineSink): Promise<Judgement[]> {
  const judged: Judgement[] = [];
  if (engine.lagOf === undefined) return judged;
  for (const group of groups) {
    try {
      const { entries, ms } = await engine.lagOf(group, AbortSignal.timeout(timeoutMs));
      const age = ms === undefined ? '' : `, the oldest ${Math.round(ms / 1000)} s old`;
      const behind = entries === undefined ? 'nobody knows how far' : `${entries} entries${age}`;
      judged.push({ status: 'ok', message: `The group ${group} is behind: ${behind}.` });
    } catch (error) {
      judged.push({
        status: 'warn',
        message: `How far the group ${group} is behind cannot be told: ${reasonOf(error)}`,
      });
    }
  }
  return judged;
}

/** Engines promise sentences, and not a point. */
function sentence(text: string): string {
  const start = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
