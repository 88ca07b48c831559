import type { Meter as Instruments } from '@opentelemetry/api';
import { Figures } from '@spillway/server/telemetry/figures';
import type { WatchedKeys } from '../keys/watched-keys.ts';

export type MeteredKeys = Pick<WatchedKeys, 'changes' | 'isUp' | 'refusedChanges'>;

/** The figures of the store of keys. Without one there are none. */
export function defineKeyStoreMetrics(instruments: Instruments, keys: () => MeteredKeys | undefined): void {
  const figures = new Figures(instruments);
  figures.gauge(
    'spillway.key.store.up',
    '',
    'Whether what the store of keys has is in force (1), as far as is known, or not (0)',
    (result) => {
      const store = keys();
      if (store !== undefined) result.observe(store.isUp ? 1 : 0);
    },
  );
  figures.counter(
    'spillway.key.store.changes',
    '{change}',
    'How often the store had other keys, by whether they were refused (refused) or came into force',
    (result) => {
      const store = keys();
      if (store === undefined) return;
      result.observe(store.changes, { refused: false });
      result.observe(store.refusedChanges, { refused: true });
    },
  );
}
