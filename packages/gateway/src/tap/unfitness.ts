import type { RecordSink } from '@spillway/core';
import type { EngineSink } from '@spillway/core/engine';
import { isAtLeast } from '../config/durability.ts';
import { type ConfiguredTap, leastDurability, losesNothing } from '../config/tap.ts';

/** Why a tap must not write to an engine that is open: what was expected, what it is, and what to do. `undefined`: it may. */
export function unfitness(
  tap: ConfiguredTap,
  engine: RecordSink & Partial<Pick<EngineSink, 'facts' | 'isLossy' | 'lagOf'>>,
): string | undefined {
  const { durability, facts } = engine;
  const least = leastDurability(tap);
  if (!isAtLeast(durability, least)) {
    const why = facts === undefined ? '' : ` (${facts.durability.replace(/\.$/, '')})`;
    return `expected durability ${least}, got ${durability}${why}: change that in the engine, or take it with durability: ${durability}`;
  }
  if (engine.isLossy === true && losesNothing(tap))
    return 'expected an engine that keeps its records until they are read, got one that removes the oldest: change that in the engine or in the URL, or leave out gate and lossless';
  if (tap.groups !== undefined && engine.lagOf === undefined)
    return 'expected no groups, because the engine has no readers of its own, got some';
  return undefined;
}
