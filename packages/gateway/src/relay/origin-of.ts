import type { StreamOrigin } from '@spillway/server/stream/stream-owner';
import type { Provider } from '../config/provider.ts';

/** A provider, as the streams from there name it. `others`: the names of those that may answer in its place. */
export function originOf(
  { api, isOwn, name, queueTimeoutMs }: Provider,
  others?: readonly string[],
): StreamOrigin {
  return { name, api, queueTimeoutMs, isOwn, others };
}
