import { isDeepStrictEqual } from 'node:util';
import { type Advice, adviceFor } from './advice.ts';
import { type Change, changesBetween } from './changes.ts';
import { ConfigError } from './config-error.ts';
import type { LimitSettings } from './limits.ts';
import { needsClientKey, type Settings } from './load.ts';
import type { Config } from './schema.ts';

/**
 * The settings that a reload changes: those that say which keys, which providers, which taps, who answers calls, who may use
 * how much and what is logged.
 */
const reloaded: ReadonlySet<string> = new Set([
  'currency',
  'logLevel',
  'maxUsers',
  'minAnswerTokens',
  'model',
  'pressure',
  'price',
  'sessionFrom',
  'tap',
  'tenant',
  'upstream',
  'userFrom',
  'voice',
  'whenLimitStoreFails',
]);

function isReloaded(key: string): boolean {
  return reloaded.has(key) || /^(?:admin|api)Keys(?:Env|File)$/.test(key);
}

/** What came of a reload: it is in force, or nothing has changed. */
export type ReloadResult =
  | {
      readonly isLoaded: true;
      readonly changes: readonly Change[];
      readonly needRestart: readonly string[];
      /** What may not be meant in the settings that are in force now, as at a start. */
      readonly advice: readonly Advice[];
    }
  /** `undefined`: the configuration is valid, and a defect keeps it out. */
  | { readonly isLoaded: false; readonly reason: string | undefined };

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
  #running: Promise<ReloadResult> | undefined;
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

  /** Loads and puts in force. Resolves when it is done, with what came of the last one that was asked for; never rejects. */
  run(load: () => Settings): Promise<ReloadResult> {
    this.#next = load;
    this.#running ??= this.#runAll(load).finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #runAll(first: () => Settings): Promise<ReloadResult> {
    let load: (() => Settings) | undefined = first;
    let result: ReloadResult;
    do {
      this.#next = undefined;
      result = await this.#run(load);
      load = this.#next;
    } while (load !== undefined);
    return result;
  }

  async #run(load: () => Settings): Promise<ReloadResult> {
    const { apply, dateMs, log } = this.#options;
    const before = this.#settings;
    try {
      // The stores are those of the start.
      const { keyStore, limitStorePassword } = before;
      const after = { ...load(), keyStore, limitStorePassword };
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
        limits: after.limits && withStoreOf(after.limits, before.limits),
        config: { ...config, voice: isOtherLine ? before.config.voice : config.voice },
      };
      await apply(settings);
      this.#settings = settings;
      this.#isSuccessful = true;
      this.#needRestart = needRestart;
      this.#loadedMs = dateMs();
      // The line is written if one of the two levels has it.
      if (!log.isLevelEnabled('info')) log.level = settings.config.logLevel;
      const changes = changesBetween(before, settings);
      log.info({ changed: changes.map(({ part }) => part) }, 'the configuration was reloaded');
      if (needRestart.length > 0) {
        log.warn({ settings: needRestart }, 'changes of settings that need a restart are not in force');
      }
      const advice = adviceFor(settings, process.env, []);
      for (const { message, ...about } of advice) log.warn(about, message);
      log.level = settings.config.logLevel;
      return { isLoaded: true, changes, needRestart, advice };
    } catch (error) {
      this.#isSuccessful = false;
      const reason = error instanceof ConfigError ? error.message : undefined;
      log.error(
        reason === undefined ? { err: error } : { reason },
        'the configuration was not reloaded, and the old one stays',
      );
      return { isLoaded: false, reason };
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
    { needsKey: needsClientKey, whose: 'clients' },
    { needsKey: ({ adminKeys }: Settings) => adminKeys.length > 0, whose: 'operators' },
  ] as const;
  for (const { needsKey, whose } of kinds) {
    const [had, has] = [needsKey(before), needsKey(after)];
    if (had === has) continue;
    const [expected, came] = had ? ['at least one', 'none'] : ['none', 'some'];
    throw new ConfigError(
      `keys of ${whose}: expected ${expected}, as at the start, got ${came}; whether keys are needed changes only with a restart`,
    );
  }
}

/** Whether calls are taken, whether they are signed and whose model answers: parts that are put together at the start. A cascade needs none. */
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

/** New limits with the store that is open, which is that of the first limits. */
function withStoreOf(limits: LimitSettings, before: LimitSettings | undefined): LimitSettings {
  if (before === undefined) return limits;
  return { ...limits, store: before.store, storePassword: before.storePassword };
}
