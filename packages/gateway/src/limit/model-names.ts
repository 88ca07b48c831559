/**
 * The spellings of a model at a provider, by which limits and prices may name it: as the client named it, with the
 * provider, and without.
 */
export function modelNames(model: string, provider: string): readonly string[] {
  const prefix = `${provider}/`;
  return model.startsWith(prefix) ? [model, model.slice(prefix.length)] : [model, `${prefix}${model}`];
}
