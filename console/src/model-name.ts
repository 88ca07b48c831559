import type { StreamRow } from '../../packages/server/src/console/snapshot.ts';

/** Without the provider in front, which stands beside it. */
export function modelName({ model, provider }: StreamRow): string {
  return model.startsWith(`${provider}/`) ? model.slice(provider.length + 1) : model;
}
