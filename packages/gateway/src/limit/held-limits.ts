import type { LimitSettings } from '../config/limits.ts';
import type { Accounts, AccountsOptions } from './accounts.ts';
import type { Limiter, LimiterOptions } from './limiter.ts';

export type HeldLimitsOptions = AccountsOptions & Omit<LimiterOptions, 'observer' | 'settings' | 'store'>;

/** Other limits, which are ready to be put in force. Exactly one of the two is called. */
export interface OtherLimits {
  commit(): void;
  /** Never rejects. */
  discard(): Promise<void>;
}

/** The limits of a gateway and the accounts of what is used, which may come and go with its settings while it runs. */
export class HeldLimits {
  readonly #options: HeldLimitsOptions;
  /** Made when there are settings for the first time. */
  #accounts: Accounts | undefined;
  /** Made when somebody has limits for the first time. */
  #limiter: Limiter | undefined;
  #limitsAnybody = false;

  private constructor(options: HeldLimitsOptions) {
    this.#options = options;
  }

  /** @throws {ConfigError} when the store of limits cannot be opened. */
  static async open(settings: LimitSettings | undefined, options: HeldLimitsOptions): Promise<HeldLimits> {
    const held = new HeldLimits(options);
    const first = await held.prepare(settings);
    first.commit();
    return held;
  }

  /** `undefined`: without limits and prices nothing is counted. */
  get accounts(): Accounts | undefined {
    return this.#accounts;
  }

  /** `undefined`: nobody has limits, so nothing is held against any. */
  get limiter(): Limiter | undefined {
    return this.#limitsAnybody ? this.#limiter : undefined;
  }

  /**
   * Gets ready for other limits; `undefined`: none. Running requests keep what they have, and the store stays the first.
   *
   * @throws {ConfigError} when the store of limits cannot be opened.
   */
  async prepare(settings: LimitSettings | undefined): Promise<OtherLimits> {
    if (settings === undefined) return { commit: () => this.#use(undefined), discard: async () => undefined };
    // Loaded here: many gateways have neither limits nor prices.
    const { openAccounts } = await import('./accounts.ts');
    const { Limiter: Limiting } = await import('./limiter.ts');
    const opened = this.#accounts === undefined ? await openAccounts(settings, this.#options) : undefined;
    return {
      commit: () => {
        this.#accounts ??= opened;
        this.#use(settings, Limiting);
      },
      discard: async () => await opened?.close(),
    };
  }

  /** Ends what is counted, and keeps what is to be kept. Never rejects. */
  async close(): Promise<void> {
    await this.#limiter?.close();
    await this.#accounts?.close();
  }

  #use(settings: LimitSettings | undefined, Limiting?: typeof Limiter): void {
    this.#accounts?.replace(settings);
    this.#limitsAnybody = settings !== undefined && limitsAnybody(settings);
    // Also where nobody has limits any more: who waits for some is let in.
    this.#limiter?.use(settings);
    if (this.#limiter !== undefined || !this.#limitsAnybody) return;
    if (settings === undefined || Limiting === undefined || this.#accounts === undefined) return;
    const { book, store } = this.#accounts;
    const observer = {
      overshot: (tenant: string, overshootTokens: number) => book.add(tenant, { overshootTokens }),
    };
    this.#limiter = new Limiting({ ...this.#options, observer, settings, store });
  }
}

/** Whether anybody has limits. Prices alone limit nothing. */
function limitsAnybody({ keys, others, tenants }: LimitSettings): boolean {
  return tenants.size > 0 || others !== undefined || keys.size > 0;
}
