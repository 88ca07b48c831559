import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';

/** The rows to render: `from` up to, not including, `to`, and what stands for those above and below. */
export interface VisibleRows {
  readonly from: number;
  readonly to: number;
  readonly abovePx: number;
  readonly belowPx: number;
}

// So that the keyboard and a fast finger find a row where they go next.
const overscanPx = 400;

/**
 * Of rows with these heights, those that are on the screen or near it. The window scrolls, not the list, so that a
 * phone has one scroller only.
 */
export function useVisibleRows(
  list: RefObject<HTMLElement | null>,
  heightsPx: readonly number[],
): VisibleRows {
  const [view, setView] = useState({ topPx: 0, bottomPx: 1000 });
  useEffect(() => {
    let frame = 0;
    const look = (): void => {
      frame = 0;
      const topPx = -(list.current?.getBoundingClientRect().top ?? 0);
      // In steps, so that most of scrolling renders nothing.
      const stepPx = Math.floor(topPx / 200) * 200;
      const bottomPx = stepPx + 200 + innerHeight;
      setView((was) =>
        was.topPx === stepPx && was.bottomPx === bottomPx ? was : { topPx: stepPx, bottomPx },
      );
    };
    const onMove = (): void => {
      if (frame === 0) frame = requestAnimationFrame(look);
    };
    look();
    addEventListener('scroll', onMove, { passive: true });
    addEventListener('resize', onMove);
    // What is above the list may grow.
    const observer = new ResizeObserver(onMove);
    observer.observe(document.body);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', onMove);
      removeEventListener('resize', onMove);
      observer.disconnect();
    };
  }, [list]);

  let from = 0;
  let abovePx = 0;
  for (; from < heightsPx.length; from += 1) {
    const height = heightsPx[from] ?? 0;
    if (abovePx + height > view.topPx - overscanPx) break;
    abovePx += height;
  }
  let to = from;
  let belowPx = 0;
  let edgePx = abovePx;
  for (; to < heightsPx.length && edgePx < view.bottomPx + overscanPx; to += 1) edgePx += heightsPx[to] ?? 0;
  for (let at = to; at < heightsPx.length; at += 1) belowPx += heightsPx[at] ?? 0;
  return { from, to, abovePx, belowPx };
}
