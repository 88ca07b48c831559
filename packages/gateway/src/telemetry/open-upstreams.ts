import type { Logger } from 'pino';
import type { BrokenModel } from '@spillway/server/console/snapshot';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { ModelAlias } from '../config/read-models.ts';
import { ProviderGates } from '../provider/gate/provider-gates.ts';
import { ProviderEvents } from './provider-events.ts';
import { providerLoad } from './provider-load.ts';
import type { MeteredProviders } from './provider-metrics.ts';
import { brokenModels, providerPages } from './provider-pages.ts';

interface UpstreamsOptions {
  readonly clock: ServerClock;
  readonly log: Logger;
  /** Whether clients' keys are for this gateway, so that no provider gets one. */
  readonly areKeysOurs: boolean;
  /** The models by names of the operator's own that are in force. */
  readonly aliases: () => readonly ModelAlias[];
}

/** What stands before providers, and what the log, metrics, the console and the level of pressure are told of it. */
export interface Upstreams extends MeteredProviders {
  readonly gates: ProviderGates;
  readonly load: () => ReturnType<typeof providerLoad>;
  readonly pages: ReturnType<typeof providerPages>;
  readonly broken: () => readonly BrokenModel[];
}

export function openUpstreams({ aliases, areKeysOurs, clock, log }: UpstreamsOptions): Upstreams {
  const events = new ProviderEvents(log, clock);
  const gates = new ProviderGates({
    clock,
    areKeysOurs,
    onChange: ({ model, provider: { name } }, state, why) => events.changed(name, model, state, why),
  });
  return {
    events,
    gates,
    isNamed: (name, model) =>
      aliases().some(({ targets }) =>
        targets.some((target) => target.provider.name === name && target.model === model),
      ),
    load: () => providerLoad(gates),
    broken: () => brokenModels(gates),
    pages: providerPages({ clock, gates: () => gates, aliases, events }),
  };
}
