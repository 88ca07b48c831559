import type { TapSettings } from './tap.ts';
import { fitsAny } from './glob.ts';

/** A stream, as the filters of a tap see it. */
export interface FilteredStream {
  readonly caller: string;
  readonly model: string;
  readonly provider: string;
  readonly tenant: string;
}

/** Whether a tap has no filters: every stream is for it. */
export function wantsAll({
  callers,
  models,
  providers,
  tenants,
}: Pick<TapSettings, 'callers' | 'models' | 'providers' | 'tenants'>): boolean {
  return [callers, models, providers, tenants].every((patterns) => patterns === undefined);
}

/** Whether a tap's filters let a stream through. */
export function wants(
  { callers, models, providers, tenants }: Pick<TapSettings, 'callers' | 'models' | 'providers' | 'tenants'>,
  { caller, model, provider, tenant }: FilteredStream,
): boolean {
  const filters = [
    [callers, caller],
    [models, model],
    [providers, provider],
    [tenants, tenant],
  ] as const;
  return filters.every(([patterns, value]) => patterns === undefined || fitsAny(patterns, value));
}
