import type { Clock } from '@spillway/core/clock';
import type { ProviderGates } from './provider-gates.ts';
import type { ModelTarget } from '../../config/read-models.ts';

/** Whom a request is sent to, in turn. */
export interface TargetOrder<Target> {
  readonly order: readonly Target[];
  /** Whose turn would have come before theirs, but cannot be asked now. */
  readonly leftOut: readonly Target[];
}

/**
 * The order in which a request's targets are asked: those with a weight by chance, in proportion to it, and then the others as
 * they were written. What cannot be asked now is left out; if that is all of them, the one that can be asked first is left.
 * The chances are those of Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the keys `u^(1/weight)`, the
 * largest first.
 */
export function targetsInOrder<Target extends ModelTarget>(
  targets: readonly Target[],
  gates: Pick<ProviderGates, 'find'>,
  clock: Pick<Clock, 'random'>,
): TargetOrder<Target> {
  if (targets.length <= 1) return { order: targets, leftOut: [] };
  const placed = targets.map((target, index) => ({
    target,
    closedMs: gates.find(target.provider, target.model)?.closedMs ?? 0,
    key: target.weight === 0 ? -1 - index : clock.random() ** (1 / target.weight),
  }));
  placed.sort((one, other) => other.key - one.key);
  const first = placed.findIndex(isOpen);
  if (first !== -1) {
    const order = placed.filter(isOpen).map(({ target }) => target);
    return { order, leftOut: placed.slice(0, first).map(({ target }) => target) };
  }
  const soonest = placed.reduce((one, other) => (other.closedMs < one.closedMs ? other : one));
  return { order: [soonest.target], leftOut: [] };
}

function isOpen({ closedMs }: { readonly closedMs: number }): boolean {
  return closedMs === 0;
}
