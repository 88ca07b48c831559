import { fitsAny } from '../config/glob.ts';

/**
 * The name by which a client may ask for a model with the id `provider/model`; `undefined`: it may not. A name without a
 * provider belongs to the first one.
 */
export function allowedName(
  patterns: readonly string[],
  id: string,
  firstProvider: string | undefined,
): string | undefined {
  if (fitsAny(patterns, id)) return id;
  const slash = id.indexOf('/');
  const model = id.slice(slash + 1);
  return id.slice(0, slash) === firstProvider && fitsAny(patterns, model) ? model : undefined;
}
