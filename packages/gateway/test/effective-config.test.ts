import { expect, test } from 'vitest';
import { effectiveConfig } from '../src/config/effective.ts';
import { loadSettings } from '../src/config/load.ts';
import { configOptions } from '../src/config/schema.ts';

test('each setting is shown once, with where it comes from', () => {
  const settings = loadSettings({ flags: { windowBytes: '32768' }, env: {}, file: undefined });
  const shown = effectiveConfig(settings);
  expect(shown.map(({ key }) => key)).toEqual(configOptions.map(({ key }) => key));
  expect(shown.find(({ key }) => key === 'windowBytes')).toMatchObject({ value: '32768', from: 'set' });
  expect(shown.find(({ key }) => key === 'retainMs')).toMatchObject({ value: '60000', from: 'default' });
  expect(shown.find(({ key }) => key === 'upstream')?.value).toBe('none: simulated models');
});

test('no secret is shown, also one in the wrong place', () => {
  const secret = 'sk-0123456789abcdef';
  const file = `
upstream:
  - name: azure
    api: openai
    url: https://models.example/v1?api-key=${secret}
    apiKeyEnv: PROVIDER_KEY
apiKeysEnv: ${secret}
adminKeysEnv: ${secret}
`;
  const settings = loadSettings({
    flags: {},
    env: { PROVIDER_KEY: secret },
    file: { path: 'spillway.yaml', text: file },
  });
  const text = JSON.stringify(effectiveConfig(settings));
  expect(text).not.toContain(secret);
  expect(text).toContain('azure (openai) https://models.example/v1?••••, key in PROVIDER_KEY');
});

test('providers that are there by a key in the environment are shown, and not called simulated', () => {
  const env = { OPENAI_API_KEY: 'sk-0123456789abcdef' };
  const shown = effectiveConfig(loadSettings({ flags: {}, env, file: undefined }));
  const upstream = shown.find(({ key }) => key === 'upstream')?.value;
  expect(upstream).toContain('openai (openai) https://api.openai.com');
  expect(upstream).not.toContain('sk-');
});
