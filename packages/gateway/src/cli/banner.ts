import { type Api, apiNames } from '../api.ts';
import type { Advice } from '../config/advice.ts';
import { tapText, tenantText, voiceText } from '../config/effective.ts';
import type { ModelAlias } from '../config/read-models.ts';
import type { Config } from '../config/schema.ts';
import type { Gateway } from '../gateway.ts';
import { voicePath } from '../voice/voice-path.ts';

/**
 * The text that a gateway prints when it runs: its providers, the names of models, its taps, its limits, who answers calls, its URLs, and what the operator may not have
 * meant. The log has that, too, but as JSON.
 */
export function banner(
  { calls, url, adminUrl, needsKey, providers }: Gateway,
  { config: { tap: taps, tenant: tenants, voice }, models }: BannerSettings,
  advice: readonly Advice[],
): string {
  // The list of what is served says it already.
  const notes = advice.filter(({ code }) => code !== 'simulated_models').map(({ message }) => `  ${message}`);
  const [first] = providers;
  const isSimulated = first?.name === 'simulated';
  const serves = isSimulated
    ? ['  simulated/sim   simulated models with the APIs of OpenAI, Anthropic and Gemini']
    : providers.map(({ name, api, url: providerUrl, apiKey }) => {
        // Clients' keys for the gateway are not forwarded to providers.
        const ownKey = needsKey ? 'without a key' : "with the client's own key";
        const key = apiKey === undefined ? ownKey : 'with its configured key';
        return `  ${name}/…   ${api}   ${providerUrl} (${key})`;
      });
  // Without a configuration, they are a double's.
  const answers =
    voice === undefined
      ? `${calls?.answers ?? ''}   ${url.replace(/^http/, 'ws')}${voicePath}   of this machine (docs/voice.md)`
      : voiceText(voice);
  const more = calls?.missing === undefined ? '' : `  a spoken conversation: ${calls.missing}\n`;
  // A name with other characters would have to be quoted.
  const named = models.find(({ name }) => /^[\w.:-]+$/.test(name));
  const tried = named?.targets[0]?.provider.api ?? first?.api ?? 'openai';
  const model = named?.name ?? (isSimulated ? 'simulated/sim' : `${first?.name ?? ''}/<model>`);
  const known = apiNames.filter((name) => providers.some(({ api }) => api === name));
  return `Spillway on ${url}

Serves
${[...serves, ...namesOf(models)].join('\n')}
${taps.length === 0 ? '' : `\nWrites down\n${taps.map((tap) => `  ${tapText(tap)}\n`).join('')}`}${limitsText(tenants)}${calls === undefined ? '' : `\nAnswers calls\n  ${answers}\n${more}`}
Try
${requests[tried](url, model)}${needsKey ? keyHeader : ''}

An official SDK needs only its base URL
${known.map((api) => `  ${baseUrls[api](url)}`).join('\n')}

Console ${adminUrl}/
Health ${url}/health/ready, metrics ${adminUrl}/metrics
${notes.length === 0 ? '' : `\nNote\n${notes.join('\n')}\n`}`;
}

/** The settings that are told. */
interface BannerSettings {
  readonly config: Pick<Config, 'tap' | 'tenant' | 'voice'>;
  readonly models: readonly ModelAlias[];
}

/** So many names of models are told: there may be thousands. */
const maxModels = 10;

/** The operator's own names of models, with where they go. */
function namesOf(models: readonly ModelAlias[]): string[] {
  const more = models.length > maxModels ? [`  and ${models.length - maxModels} more names of models`] : [];
  const lines = models.slice(0, maxModels).map(({ name, targets }) => {
    const places = new Set(targets.map(({ model, provider }) => `${provider.name}/${model}`));
    return `  ${name}   ${[...places].join(', ')}`;
  });
  return [...lines, ...more];
}

/** So many tenants are named: there may be thousands. */
const maxTenants = 10;

function limitsText(tenants: Config['tenant']): string {
  if (tenants.length === 0) return '';
  const more = tenants.length > maxTenants ? `  and ${tenants.length - maxTenants} more\n` : '';
  return `\nLimits\n${tenants
    .slice(0, maxTenants)
    .map((tenant) => `  ${tenantText(tenant)}\n`)
    .join('')}${more}`;
}

const keyHeader = " \\\n    -H 'authorization: Bearer <one of its API keys>'";

const baseUrls: Readonly<Record<Api, (url: string) => string>> = {
  openai: (url) => `openai              baseURL: '${url}/v1'`,
  anthropic: (url) => `@anthropic-ai/sdk   baseURL: '${url}'`,
  gemini: (url) => `@google/genai       httpOptions: { baseUrl: '${url}' }`,
  azure: (url) => `AzureOpenAI         endpoint: '${url}'`,
  ollama: (url) => `ollama              host: '${url}'`,
};

const requests: Readonly<Record<Api, (url: string, model: string) => string>> = {
  openai: (url, model) => `  curl -N ${url}/v1/chat/completions \\
    -H 'content-type: application/json' \\
    -d '{"model": "${model}", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'`,
  anthropic: (url, model) => `  curl -N ${url}/v1/messages \\
    -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \\
    -d '{"model": "${model}", "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'`,
  gemini: (url, model) => `  curl -N '${url}/v1beta/models/${model}:streamGenerateContent?alt=sse' \\
    -H 'content-type: application/json' \\
    -d '{"contents": [{"parts": [{"text": "Hello"}]}]}'`,
  // The deployment is part of the path, so the slash after its provider's name is encoded.
  azure: (
    url,
    model,
  ) => `  curl -N '${url}/openai/deployments/${model.replace('/', '%2F')}/chat/completions?api-version=2024-10-21' \\
    -H 'content-type: application/json' \\
    -d '{"stream": true, "messages": [{"role": "user", "content": "Hello"}]}'`,
  ollama: (url, model) => `  curl -N ${url}/api/chat \\
    -H 'content-type: application/json' \\
    -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`,
};
