import { isatty } from 'node:tty';

interface SignalActions {
  /** Stops the program. Called again, it has to hurry. */
  readonly stop: () => Promise<void>;
  /** Ends the process when the program has stopped. */
  readonly end: (code: number) => Promise<never>;
  /** Loads the configuration again. Without it, SIGHUP stops the program. */
  readonly reload?: () => void;
}

/**
 * Requests to stop within this time are one: a terminal's Ctrl-C reaches this process and npm, which passes it on,
 * and so does a supervisor that signals the whole group.
 */
const sameRequestMs = 1000;
/** How often it is noticed that npx is gone. */
const parentMs = 250;

/**
 * Stops and ends the process on SIGTERM and SIGINT; a second one hurries. SIGHUP reloads, but stops where it means
 * that the process's terminal was closed. Windows has no SIGHUP but that one.
 */
export function onSignals({ end, reload, stop }: SignalActions): void {
  let askedMs: number | undefined;
  const onStop = (): void => {
    const nowMs = performance.now();
    if (askedMs !== undefined && nowMs - askedMs < sameRequestMs) return;
    askedMs ??= nowMs;
    void stop().then(
      () => end(0),
      () => end(1),
    );
  };
  process.on('SIGTERM', onStop);
  process.on('SIGINT', onStop);
  const hadTerminal = hasTerminal();
  process.on('SIGHUP', () => {
    const isClosed = process.platform === 'win32' || (hadTerminal && !hasTerminal());
    if (reload === undefined || isClosed) onStop();
    else reload();
  });
  onEndOfNpx(() => {
    if (askedMs === undefined) onStop();
  });
}

/** Whether one of the standard streams is a terminal: a program that nohup started has none. */
function hasTerminal(): boolean {
  return [0, 1, 2].some((fd) => isatty(fd));
}

/**
 * Calls back when npx is gone. npx starts a shell, which starts this process. It sends signals to the shell
 * alone, and Debian's shell ends without passing them on.
 */
function onEndOfNpx(gone: () => void): void {
  const { env, platform, ppid } = process;
  if (env['npm_lifecycle_event'] !== 'npx' || platform === 'win32') return;
  const timer = setInterval(() => {
    if (process.ppid === ppid) return;
    clearInterval(timer);
    gone();
  }, parentMs).unref();
}
