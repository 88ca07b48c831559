import { fitsAny } from '../../config/glob.ts';
import type { ModelAlias } from '../../config/read-models.ts';

/** Since the beginning of 1970, in seconds: when a name was configured is not known. */
const created = 0;

/**
 * The models by names of the operator's own that a client of OpenAI's API may ask for, in the form of a list's models: JSON objects with
 * commas between them, empty without any. `allowed`: the patterns of those that it may use; `undefined`: all.
 */
export function ownModels(aliases: readonly ModelAlias[], allowed: readonly string[] | undefined): Buffer {
  const models = aliases
    .filter(({ targets }) => targets.some(({ provider }) => provider.api === 'openai'))
    .filter(({ name }) => allowed === undefined || fitsAny(allowed, name))
    .map(({ name }) => JSON.stringify({ id: name, object: 'model', created, owned_by: 'spillway' }));
  return Buffer.from(models.join(','));
}
