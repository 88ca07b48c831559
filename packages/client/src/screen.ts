import { systemClock } from '@spillway/core/clock';
import { isHidden } from './wake.ts';

/** The frames and the clock of a screen. `useStream` uses the page's; tests bring their own. */
export interface Screen {
  /** Whether the page is hidden, so that nothing is drawn. */
  readonly isHidden: boolean;
  /** Milliseconds since some moment; never goes back. */
  nowMs(): number;
  /**
   * Calls back once before the next frame is drawn, or when the page is hidden. Returns a function that cancels the
   * call.
   */
  requestFrame(callback: () => void): () => void;
  /**
   * Calls back once when the changes made before a frame have been painted. Returns a function that cancels the call.
   */
  requestPainted(callback: () => void): () => void;
}

// The length of a frame where there is no screen, as on a server.
const frameMs = 16;

/** The screen of this page. */
export const pageScreen: Screen = {
  get isHidden() {
    return isHidden();
  },
  nowMs: () => systemClock.nowMs(),
  requestFrame(callback) {
    if (typeof requestAnimationFrame === 'undefined') return after(frameMs, callback);
    // A hidden page gets no frames, so hiding the page ends the wait.
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
  // The first task after a frame runs when the frame is painted.
  requestPainted: (callback) => after(0, callback),
};

function after(ms: number, callback: () => void): () => void {
  const timer = systemClock.after(ms, callback);
  return () => timer.stop();
}
