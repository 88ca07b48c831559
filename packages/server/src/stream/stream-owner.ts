import type { Format } from '@spillway/core/format/format';
import type { Asker } from '../access/asker.ts';
import type { StreamClient } from '../access/stream-client.ts';
import type { DetachPolicy } from './detach-policy.ts';

/** Where a stream comes from, as metrics, logs and the console name it. */
export interface StreamOrigin {
  readonly name: string;
  /** What it speaks. */
  readonly api: string;
  /** How long comments alone count as life, if longer than `idleTimeoutMs`; `undefined`: they do not. */
  readonly queueTimeoutMs?: number | undefined;
}

/** Whose a stream is, where it comes from, and what becomes of it when nobody reads it. */
export interface StreamOwner {
  readonly origin: StreamOrigin;
  /** The format of its errors: that of the request, whoever reads it. */
  readonly errors: Format;
  /** Whose large events are bounded together; empty: its client's address stands for it. */
  readonly owner: string;
  /** Whether somebody may read it, by what their request brings. */
  readonly mayRead: (asker: Pick<Asker, 'caller' | 'headers' | 'queryKey'>) => boolean;
  /** Whose room its history takes after its end; see `holderOf`. */
  readonly holder: string;
  readonly detach: DetachPolicy;
  /** For the console: as the client named it. */
  readonly model: string | undefined;
  readonly client: StreamClient;
}
