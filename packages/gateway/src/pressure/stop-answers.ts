import { LimitError } from '@spillway/server/limit/limit-error';
import type { PressureRule } from '../config/pressure-rule.ts';
import { isFor, type PressedFor, ranks } from './pressed-for.ts';
import type { Level } from './pressure-gauge.ts';

/** An answer that runs and can be ended as a whole message. */
export interface RunningAnswer extends PressedFor {
  /** When its request came, on the clock. */
  readonly startedMs: number;
  /** Ends it: the model is stopped, and its readers get a whole message. */
  readonly stop: (error: LimitError) => void;
}

/** Of so many that may be stopped, one is. */
const part = 100;

/**
 * Stops the answers that matter least: of those that a rule in force is for, one in a hundred, and at least one. The lowest priority
 * is first; of a priority the tenant with the most of them, which another's few do not pay for; of a tenant the newest, of which the
 * least is lost. Returns how many were stopped.
 */
export function stopAnswers(
  level: Level,
  rules: readonly PressureRule[],
  running: () => Iterable<RunningAnswer>,
): number {
  const stopping = rules.filter(({ stop }) => stop !== undefined);
  if (stopping.length === 0) return 0;
  const found = [...running()].filter((answer) =>
    stopping.some((rule) => ranks[answer.priority] <= ranks[rule.stop ?? 'low'] && isFor(rule, answer)),
  );
  const tenants = Map.groupBy(found, ({ priority, tenant }) => `${priority} ${tenant}`);
  const queues = [...tenants.values()];
  for (const own of queues) own.sort((one, other) => one.startedMs - other.startedMs);
  const count = Math.ceil(found.length / part);
  for (let stopped = 0; stopped < count; stopped += 1) {
    const answer = queues.reduce((least, own) => (isBefore(own, least) ? own : least)).pop();
    answer?.stop(stoppedAt(level, answer));
  }
  return count;
}

/** Whether the last of some answers, all of one priority and tenant, matters less than the last of others. */
function isBefore(own: readonly RunningAnswer[], other: readonly RunningAnswer[]): boolean {
  const [one, two] = [own.at(-1), other.at(-1)];
  if (one === undefined || two === undefined) return two === undefined;
  const lower = ranks[one.priority] - ranks[two.priority];
  const more = own.length - other.length;
  return lower === 0 ? more > 0 || (more === 0 && one.startedMs > two.startedMs) : lower < 0;
}

function stoppedAt(level: Level, { priority }: RunningAnswer): LimitError {
  return new LimitError(
    { scope: 'answer', name: 'pressure', value: level, used: level, resetMs: undefined },
    `The gateway is under pressure (level ${level} of 3), and has stopped this answer of priority ${priority}.`,
  );
}
