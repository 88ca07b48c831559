import { checkOf } from './engine-proof.ts';
import * as leases from './lease-checks.ts';
import type { LimitEngine } from './limit-engine.ts';
import { LimitProof } from './limit-proof.ts';
import * as stores from './limit-store-checks.ts';
import * as quotas from './quota-checks.ts';
import type { SkippableTest } from './skippable-test.ts';

/** One rule of `LimitStore`, and a check that a store keeps it. */
export interface LimitRule {
  /** The rule's number in the description of `LimitStore`. */
  readonly number: number;
  /** The rule in a few words, for a test's name. */
  readonly name: string;
  /**
   * Rejects when the store breaks the rule, with the expected and the actual result. A check that needs what the engine
   * cannot do says so to the test's context (Vitest and `node:test` hand it in), and rejects where there is none: no
   * rule is left out without a word.
   */
  readonly check: (context?: SkippableTest) => Promise<void>;
}

/** How the rules are proved. */
export interface LimitRulesOptions {
  /** The seed of what is random: a whole number from 0 to 2^32 − 1. Errors name it. Default: 1. */
  readonly seed?: number;
  /** The random steps of each check that has them: 1 to 100,000. Default: 300. */
  readonly steps?: number;
  /** How long a call may take before it counts as one that never settles. Default: 10 seconds. */
  readonly deadlineMs?: number;
}

/**
 * The rules that every store of limits has to keep. Run each rule's check in a test of its own.
 *
 * @param openEngine opens an empty engine; called once for each check.
 * @example A store on an engine of your own is proved with a few lines.
 * ```ts
 * const openEngine = async () => {
 *   const table = await openMyTable();
 *   return {
 *     open: () => openMyLimits(table),
 *     pass: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
 *     dateMs: () => Date.now(),
 *     fail: () => table.disconnect(),
 *     heal: () => table.connect(),
 *   };
 * };
 * for (const { number, name, check } of limitRules(openEngine)) test(`limit rule ${number}: ${name}`, check);
 * ```
 */
export function limitRules(
  openEngine: () => Promise<LimitEngine> | LimitEngine,
  { seed = 1, steps = 300, deadlineMs = 10_000 }: LimitRulesOptions = {},
): readonly LimitRule[] {
  const rule = (
    number: number,
    name: string,
    prove: (proof: LimitProof) => Promise<void>,
    need: Need = {},
  ): LimitRule => ({
    number,
    name,
    check: checkOf(
      openEngine,
      (engine) => new LimitProof(engine, { seed, deadlineMs }),
      (engine) => {
        const missing = missingOf(engine, need);
        return missing && `cannot ${missing}`;
      },
      prove,
    ),
  });
  return [
    rule(
      1,
      'a refusal takes nothing of anything, and names the first quota that refuses',
      quotas.allOrNothing,
    ),
    rule(1, 'a grant takes everything, and of a budget what is there of a slice', quotas.slices),
    rule(2, 'a rate gives its burst, and then what comes back', quotas.bursts),
    rule(2, 'of a rate whose burst changes what was used counts on', quotas.changedBursts),
    rule(2, 'places and budgets are given out once, however many ask at once', quotas.crowd),
    rule(2, 'random calls of several stores stay within the limits and count what was spent', (proof) =>
      quotas.randomCalls(proof, steps),
    ),
    rule(2, 'a budget begins again with its minute, and what is reserved stays', quotas.minutes, {
      passMs: 61_000,
    }),
    rule(2, 'a budget begins again with its day and with its month, by UTC', quotas.daysAndMonths, {
      passMs: 62 * 86_400_000,
    }),
    rule(2, 'a budget is forgotten when nobody uses it', quotas.idleBudgets),
    rule(3, 'a lease that is opened again takes nothing twice, and gets the same answer', leases.openedAgain),
    rule(4, 'what was spent counts where the slice is refused', leases.refusedSlices),
    rule(4, 'what was spent beyond the slice counts, beyond the limit too', leases.overshoot),
    rule(5, 'what was told before counts once', leases.toldTwice),
    rule(6, 'a lease that is gone goes on without places, and nothing is lost', leases.extendedLate),
    rule(7, 'a settled lease is settled once', leases.settledTwice),
    rule(
      7,
      'what is told with the end is what counts, and what was too much is taken back',
      leases.settledForLess,
    ),
    rule(
      7,
      'what was too much in a window that is over is taken back from no other',
      leases.settledForLessLater,
      { passMs: 120_000 },
    ),
    rule(7, 'what was spent by a lease that is gone counts, once', leases.settledLate),
    rule(7, 'a lease that was settled an hour ago is settled once', leases.settledAnHourAgo, {
      passMs: 3_600_000,
    }),
    rule(8, 'silent leases go, with what they had and without what they spent', leases.silent),
    rule(8, 'leases that are renewed or extended stay', leases.renewed),
    rule(8, 'a lease of a store that is closed goes as a silent one', leases.leftBehind),
    rule(9, 'a closed store takes no calls, and can be closed again', stores.closed),
    rule(9, 'a call that waits rejects when its store is closed', stores.closedWhileWaiting, { hangs: true }),
    rule(10, 'calls reject while the engine fails, and work again when it does', stores.failures, {
      fails: true,
    }),
    rule(10, 'calls reject while the engine is silent, and work again when it speaks', stores.silence, {
      hangs: true,
    }),
    rule(11, 'a call with an aborted signal rejects with its reason', stores.aborted),
    rule(11, 'a call that waits rejects when it is aborted', stores.abortedWhileWaiting, { hangs: true }),
    rule(
      12,
      'nothing is kept of what is unused, and of leases that are gone at most for a day',
      stores.kept,
      {
        passMs: 32 * 86_400_000,
        counts: true,
      },
    ),
    rule(13, 'a grant says how its rates and budgets stand with it', leases.toldStates),
    rule(14, 'a call with a number out of its range is refused, and takes nothing', stores.outOfRange),
    rule(15, 'a lease that was settled stays settled', leases.settledForGood),
  ];
}

/** What a check needs beside stores. */
interface Need {
  readonly passMs?: number;
  readonly fails?: boolean;
  readonly hangs?: boolean;
  readonly counts?: boolean;
}

function missingOf(
  engine: LimitEngine,
  { counts = false, fails = false, hangs = false, passMs = 0 }: Need,
): string | undefined {
  const { maxPassMs = 5000 } = engine;
  if (passMs > maxPassMs) return `let ${passMs} ms pass`;
  if (fails && (engine.fail === undefined || engine.heal === undefined)) return 'fail';
  if (hangs && (engine.hang === undefined || engine.heal === undefined)) return 'be silent';
  return counts && engine.keptCount === undefined ? 'count what it keeps' : undefined;
}
