import { useEffect, useRef, useState } from 'preact/hooks';
import type { Overview, Totals } from '../../packages/server/src/console/snapshot.ts';
import type { Feed } from './feed.ts';
import { append, maxHoleMs, merge } from './history.ts';

/** The gateway as it is, and its last ten minutes. */
export interface Watched {
  readonly overview: Overview;
  /** Oldest first. */
  readonly history: readonly Totals[];
}

/**
 * Follows the gateway, and fetches what of its past the page did not see. `undefined` until both are there: without its
 * past, a page would say that nothing is wrong, and say otherwise a moment later.
 */
export function useOverview(feed: Feed, onRefused: () => void): Watched | undefined {
  const [overview, setOverview] = useState<Overview>();
  const [history, setHistory] = useState<readonly Totals[]>([]);
  const [hasPast, setPast] = useState(false);
  const lastMs = useRef(0);

  useEffect(() => {
    let isOver = false;
    const stop = feed.followOverview({
      onSnapshot: (snapshot) => {
        const { atMs } = snapshot.totals;
        const hasHole = atMs - lastMs.current > maxHoleMs;
        lastMs.current = atMs;
        setOverview(snapshot);
        setHistory((was) => append(was, snapshot.totals));
        if (!hasHole) return;
        const show = (fetched: readonly Totals[]): void => {
          if (!isOver) setHistory((live) => merge(fetched, live));
        };
        // Without it the charts have a hole, and the next snapshot is there in a second.
        feed
          .readHistory()
          .then(show, () => undefined)
          .finally(() => setPast(true));
      },
      // There always is one, for whoever may see it.
      onEnd: onRefused,
    });
    return () => {
      isOver = true;
      stop();
    };
  }, [feed]);

  return overview === undefined || !hasPast ? undefined : { overview, history };
}
