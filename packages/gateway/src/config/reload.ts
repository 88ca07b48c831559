import { isDeepStrictEqual } from 'node:util';
import { ConfigError } from './config-error.ts';
import type { Settings } from './load.ts';
import type { Config } from './schema.ts';

/** Whether a reload changes a setting: those that say which keys, which providers, who answers calls and what is logged. */
function isReloaded(key: string): boolean {
  return ['logLevel', 'upstream', 'voice'].includes(key) || /^(?:admin|api)Keys/.test(key);
}

interface ReloadLog {
  level: string;
  isLevelEnabled(level: 'info'): boolean;
  info(figures: object, message: string): void;
  warn(figures: object, message: string): void;
  error(figures: object, message: string): void;
}

interface ReloadOptions {
  /** The settings of the start. */
  readonly settings: Settings;
  /** Puts settings in force. Must not leave half of them in force if it throws. */
  readonly apply: (settings: Settings) => Promise<void>;
  readonly log: ReloadLog;
  readonly dateMs: () => number;
}

/**
 * Loads the configuration again while the gateway runs. What is wrong changes nothing: it is logged, and the
 * settings in force stay.
 */
export class Reload {
  readonly #options: ReloadOptions;
  /** The settings in force. Those of them that need a restart are still those of the start. */
  #settings: Settings;
  #loadedMs: number;
  #isSuccessful = true;
  #needRestart: readonly string[] = [];
  /** The reload that runs, and the one that waits for it: of several requests the last. */
  #running: Promise<void> | undefined;
  #next: (() => Settings) | undefined;

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#loadedMs = options.dateMs();
  }

  /** The settings in force. */
  get settings(): Settings {
    return this.#settings;
  }

  /** Whether the last load of the configuration, the start included, is in force. */
  get isSuccessful(): boolean {
    return this.#isSuccessful;
  }

  /** The settings whose values in the configuration that was loaded last are in force only after a restart. */
  get needRestart(): readonly string[] {
    return this.#needRestart;
  }

  /** When a configuration was loaded for the last time, in milliseconds since 1970. */
  get loadedMs(): number {
    return this.#loadedMs;
  }

  /** Loads and puts in force. Resolves when it is done; never rejects. */
  run(load: () => Settings): Promise<void> {
    this.#next = load;
    this.#running ??= this.#runAll().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #runAll(): Promise<void> {
    for (let load = this.#next; load !== undefined; load = this.#next) {
      this.#next = undefined;
      await this.#run(load);
    }
  }

  async #run(load: () => Settings): Promise<void> {
    const { apply, dateMs, log } = this.#options;
    const before = this.#settings;
    try {
      const after = load();
      refuseOpening(before, after);
      const needRestart = changesThatNeedRestart(before, after);
      // Simulated models have a server of their own, which is opened at the start.
      const isOtherKind = (before.providers.length === 0) !== (after.providers.length === 0);
      const providers = isOtherKind ? before.providers : after.providers;
      if (isOtherKind) needRestart.push('upstream');
      const isOtherLine = lineKind(before) !== lineKind(after);
      const voice = isOtherLine ? before.voice : after.voice;
      if (isOtherLine) needRestart.push('voice');
      const config = mixed(before.config, after.config);
      const settings = {
        ...after,
        providers,
        voice,
        config: { ...config, voice: isOtherLine ? before.config.voice : config.voice },
      };
      await apply(settings);
      this.#settings = settings;
      this.#isSuccessful = true;
      this.#needRestart = needRestart;
      this.#loadedMs = dateMs();
      // The line is written if one of the two levels has it.
      if (!log.isLevelEnabled('info')) log.level = settings.config.logLevel;
      log.info({ changed: changedParts(before, settings) }, 'the configuration was reloaded');
      if (needRestart.length > 0) {
        log.warn({ settings: needRestart }, 'changes of settings that need a restart are not in force');
      }
      log.level = settings.config.logLevel;
    } catch (error) {
      this.#isSuccessful = false;
      if (error instanceof ConfigError) {
        log.error({ reason: error.message }, 'the configuration was not reloaded, and the old one stays');
      } else {
        log.error({ err: error }, 'the configuration was not reloaded, and the old one stays');
      }
    }
  }
}

/**
 * Refuses to change whether keys are needed. A request that came while they were could be sent on when they are not,
 * and its key with it; and the hosts in force are those of the start.
 *
 * @throws {ConfigError}
 */
function refuseOpening(before: Settings, after: Settings): void {
  const kinds = [
    { keys: 'apiKeys', whose: 'clients' },
    { keys: 'adminKeys', whose: 'operators' },
  ] as const;
  for (const { keys, whose } of kinds) {
    const [had, has] = [before[keys].length > 0, after[keys].length > 0];
    if (had === has) continue;
    const [expected, came] = had ? ['at least one', 'none'] : ['none', 'some'];
    throw new ConfigError(
      `keys of ${whose}: expected ${expected}, as at the start, got ${came}; whether keys are needed changes only with a restart`,
    );
  }
}

/** Whether calls are taken, whether they are signed and whose model answers: parts that are put together at the start. */
function lineKind({ voice }: Settings): string {
  if (voice === undefined) return 'none';
  return `${voice.line === undefined ? 'unsigned' : 'signed'} ${voice.model === undefined ? 'simulated' : 'real'}`;
}

function changesThatNeedRestart(before: Settings, after: Settings): string[] {
  const keys = Object.keys(after.config) as (keyof Config)[];
  return keys.filter((key) => !isReloaded(key) && !isDeepStrictEqual(before.config[key], after.config[key]));
}

/** The settings of the start, but for those that a reload changes. */
function mixed(before: Config, after: Config): Config {
  const changing = Object.entries(after).filter(([key]) => isReloaded(key));
  return { ...before, ...Object.fromEntries(changing) };
}

/** The names of the parts that are different now. Certificates are put in force again without being compared. */
function changedParts(before: Settings, after: Settings): string[] {
  const parts = ['adminKeys', 'apiKeys', 'providers', 'voice'] as const;
  const changed: string[] = parts.filter((part) => !isDeepStrictEqual(before[part], after[part]));
  if (before.config.logLevel !== after.config.logLevel) changed.push('logLevel');
  return changed;
}
