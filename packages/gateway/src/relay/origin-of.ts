import type { StreamOrigin } from '@spillway/server/stream/stream-owner';
import type { Provider } from '../config/provider.ts';

/** A provider, as the streams from there name it. */
export function originOf({ api, isOwn, name, queueTimeoutMs }: Provider): StreamOrigin {
  return { name, api, queueTimeoutMs, isOwn };
}
