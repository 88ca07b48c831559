import { systemClock } from '@spillway/core/clock';
import { isHidden } from './wake.ts';

/** When something is drawn. There is one in `useStream`; tests bring their own. */
export interface Screen {
  /** Whether nothing is drawn at all, because nobody sees the page. */
  readonly isHidden: boolean;
  /** Milliseconds since some moment; never goes back. */
  nowMs(): number;
  /**
   * Calls back once before the next frame is drawn, or when the page is hidden. Returns the function that calls it
   * off.
   */
  requestFrame(callback: () => void): () => void;
  /** Calls back once when what was changed before a frame has been painted. Returns the function that calls it off. */
  requestPainted(callback: () => void): () => void;
}

// Where there is no screen, as on a server.
const frameMs = 16;

/** The screen of this page. */
export const pageScreen: Screen = {
  get isHidden() {
    return isHidden();
  },
  nowMs: () => systemClock.nowMs(),
  requestFrame(callback) {
    if (typeof requestAnimationFrame === 'undefined') return after(frameMs, callback);
    // A hidden page gets no frames: whoever waits for one would wait until somebody looks.
    const onChange = (): void => {
      if (isHidden()) run();
    };
    const run = (): void => {
      stop();
      callback();
    };
    const stop = (): void => {
      cancelAnimationFrame(handle);
      document.removeEventListener('visibilitychange', onChange);
    };
    const handle = requestAnimationFrame(run);
    document.addEventListener('visibilitychange', onChange);
    return stop;
  },
  // The first task behind a frame comes when it is painted.
  requestPainted: (callback) => after(0, callback),
};

function after(ms: number, callback: () => void): () => void {
  const timer = systemClock.after(ms, callback);
  return () => timer.stop();
}
