import { fitsAny } from '../config/glob.ts';
import type { TenantLimits } from '../config/limits.ts';
import type { PressureRule } from '../config/pressure-rule.ts';
import { modelNames } from '../limit/model-names.ts';

/** For whom a request is, and what it asks for, as rules may name them. */
export interface PressedFor {
  readonly tenant: string;
  readonly priority: TenantLimits['priority'];
  /** The spellings of its model. */
  readonly names: readonly string[];
}

/** Priorities in their order. */
export const ranks: Readonly<Record<TenantLimits['priority'], number>> = { low: 0, normal: 1, high: 2 };

/** Whether a rule is for a request. */
export function isFor(
  { models, priorities, tenants }: PressureRule,
  { names, priority, tenant }: PressedFor,
): boolean {
  return (
    (models === undefined || names.some((name) => fitsAny(models, name))) &&
    (tenants === undefined || tenants.includes(tenant)) &&
    (priorities === undefined || priorities.includes(priority))
  );
}

/** The spellings of a request's model. Without a provider's name, a pattern means the models of the first one. */
export function spellings(
  model: string | undefined,
  provider: string,
  isFirstProvider: boolean,
): readonly string[] {
  if (model === undefined) return [];
  return modelNames(model, provider).filter((name) => isFirstProvider || name.startsWith(`${provider}/`));
}
