import type { ClientEvent } from './client-event.ts';
import type { ConnectionOptions } from './connection.ts';

export interface SessionOptions extends ConnectionOptions {
  readonly giveUpAfterMs: number;
  readonly idleTimeoutMs: number;
  readonly fallbackMs: number;
  readonly onEvent: ((event: ClientEvent) => void) | undefined;
}
