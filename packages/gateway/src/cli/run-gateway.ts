import { type Logger, pino } from 'pino';
import { ConfigError } from '../config/config-error.ts';
import type { Settings } from '../config/load.ts';
import { type Gateway, openGateway } from '../gateway.ts';
import { endNow, endProcess } from '../process/end-process.ts';
import { reportError } from '../process/error-report.ts';
import { LogDestination } from '../process/log-destination.ts';
import { openOutput } from '../process/output.ts';
import { banner } from './banner.ts';
import { failToStart } from './fail-to-start.ts';
import { settingsFrom } from './settings.ts';
import { settingsOrFail } from './settings-or-fail.ts';
import { onSignals } from './signals.ts';

/** Runs a gateway with the settings of `flags`, until a signal or a defect stops it. */
export async function runGateway(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const destination = new LogDestination(openOutput(2));
  const { advice, file, settings } = settingsOrFail(flags);
  // Standard output may be a tap's: then only its records are there.
  const isTapped = settings.config.tap.some(({ to }) => to === 'stdout:');
  const words = isTapped ? destination : new LogDestination(openOutput(1));
  const end = (code: number): Promise<never> => endProcess(code, [destination, words]);
  const log = pino({ level: settings.config.logLevel, serializers: { err: reportError } }, destination);
  const load = settingsLoader(flags, file);
  const gateway = await openGateway(settings, log, destination, load).catch(failToStart);
  // A start that fails says one thing.
  for (const { message, ...about } of advice) log.warn(about, message);
  // Node's own listener writes warnings to stderr, and blocks until they are read.
  process.removeAllListeners('warning');
  process.on('warning', ({ message, name }) => log.warn({ name, reason: message }, 'warning of Node'));
  onCrash(gateway, log, end);
  const say = (sentence: string): void => words.write(`${sentence}\n`);
  onSignals({ stop: () => gateway.stop(say), reload: () => void gateway.reload(load), end });
  words.write(banner(gateway, settings, advice));
}

/**
 * Loads the settings anew with each call: of the flags and the environment, which stay, and of the files. `known`: the
 * file of the start.
 */
function settingsLoader(flags: Readonly<Record<string, unknown>>, known: string | undefined): () => Settings {
  let before = known;
  return () => {
    const { file, settings } = settingsFrom(flags);
    // Without its file a gateway would have none of its providers: somebody is just writing it, or moved it.
    if (before !== undefined && file === undefined)
      throw new ConfigError(`${before}: expected the file, got none`);
    before = file;
    return settings;
  };
}

/** How much longer than `shutdownMs` a process may take to end after a defect. */
const crashGraceMs = 2000;

/**
 * The last handler, for errors that nothing else caught. The state of the process may be wrong from then on.
 * So it accepts no new streams, lets running ones finish as SIGTERM does, and exits with 1. A second such
 * error ends it at once.
 */
function onCrash(gateway: Gateway, log: Logger, end: (code: number) => Promise<never>): void {
  let isCrashing = false;
  const handle = (thrown: unknown): void => {
    if (isCrashing) endNow(1);
    isCrashing = true;
    log.fatal({ err: thrown }, 'a defect of the gateway that nothing contains: it stops');
    const exit = (): void => void end(1);
    setTimeout(exit, gateway.shutdownMs + crashGraceMs);
    gateway.stop().then(exit, exit);
  };
  process.on('uncaughtException', handle);
  process.on('unhandledRejection', handle);
}
