import type { Setting } from '@spillway/server/console/snapshot';
import type { Settings } from './load.ts';
import { type Config, configOptions, type Upstream } from './schema.ts';

/** Stands for what could be a secret. */
const masked = '••••';

/**
 * The settings that the gateway runs with, for people. A key stands in none of them; what may be one that was put into
 * the wrong setting is masked, too.
 */
export function effectiveConfig({
  config,
  providers,
}: Pick<Settings, 'config' | 'providers'>): readonly Setting[] {
  return configOptions.map(({ defaultValue, description, key }) => {
    const value = config[key];
    const isDefault = JSON.stringify(value) === JSON.stringify(defaultValue);
    const text = key === 'upstream' && isDefault ? shownDefaults(providers) : shown(key, config);
    return { key, value: text, from: isDefault ? 'default' : 'set', description };
  });
}

/** Without `upstream` there are the providers for which the environment has a key. */
function shownDefaults(providers: Settings['providers']): string {
  if (providers.length === 0) return 'none: simulated models';
  return providers
    .map(({ api, name, url }) => `${name} (${api}) ${url}, by a key in the environment`)
    .join('\n');
}

function shown(key: keyof Config, config: Config): string {
  switch (key) {
    case 'upstream':
      return config.upstream.map(shownUpstream).join('\n');
    case 'adminTlsKeyFile':
    case 'apiKeysFile':
    case 'tlsKeyFile':
      return config[key] === undefined ? '' : masked;
    case 'adminKeysEnv':
    case 'apiKeysEnv':
      return variable(config[key]);
    default: {
      const value = config[key];
      return Array.isArray(value) ? value.join(', ') : String(value ?? '');
    }
  }
}

function shownUpstream({ api, apiKeyEnv, name, url }: Upstream): string {
  const where = new URL(url);
  // A query may have a key in it.
  const query = where.search === '' ? '' : `?${masked}`;
  const key = apiKeyEnv === undefined ? 'the client’s key' : `key in ${variable(apiKeyEnv)}`;
  return `${name} (${api}) ${where.origin}${where.pathname}${query}, ${key}`;
}

/** The name of an environment variable, as such names are. */
function variable(name: string): string {
  return /^[A-Z][A-Z\d_]{0,63}$/.test(name) ? name : masked;
}
