import { expect, test } from 'vitest';
import { effectiveSettings } from '../src/config/effective.ts';
import { loadSettings } from '../src/config/load.ts';
import { configOptions } from '../src/config/schema.ts';

test('each setting is shown once, with where it comes from', () => {
  const settings = loadSettings({ flags: { windowBytes: '32768' }, env: {}, file: undefined });
  const shown = effectiveSettings(settings, {});
  expect(shown.map(({ key }) => key)).toEqual(configOptions.map(({ key }) => key));
  expect(shown.find(({ key }) => key === 'windowBytes')).toMatchObject({
    value: '32KiB',
    from: '--window-bytes',
  });
  expect(shown.find(({ key }) => key === 'retainMs')).toMatchObject({ value: '1m', from: 'default' });
  expect(shown.find(({ key }) => key === 'upstream')?.value).toBe('none: simulated models');
});

test('taps are shown in a line each', () => {
  const tap = [
    'name=audit,to=sqlite:a.db,gate=true,request=true',
    'name=usage,to=file:u.jsonl,content=usage,lossless=true',
  ];
  const shown = effectiveSettings(loadSettings({ flags: { tap }, env: {}, file: undefined }), {});
  expect(shown.find(({ key }) => key === 'tap')?.value).toBe(
    'audit   sqlite:a.db   content: full, request, gate\nusage   file:u.jsonl   content: usage, lossless',
  );
});

test('no secret is shown', () => {
  const secret = 'sk-0123456789abcdef';
  const file = `
upstream:
  - name: azure
    api: openai
    url: https://models.example/v1?api-key=${secret}
    apiKeyEnv: PROVIDER_KEY
`;
  const settings = loadSettings({
    flags: {},
    env: { PROVIDER_KEY: secret },
    file: { path: 'spillway.yaml', text: file },
  });
  const text = JSON.stringify(effectiveSettings(settings, {}));
  expect(text).not.toContain(secret);
  expect(text).toContain('azure (openai) https://models.example/v1, key in PROVIDER_KEY');
});

test('providers that are there by a key in the environment are shown, and not called simulated', () => {
  const env = { OPENAI_API_KEY: 'sk-0123456789abcdef' };
  const shown = effectiveSettings(loadSettings({ flags: {}, env, file: undefined }), env);
  const upstream = shown.find(({ key }) => key === 'upstream')?.value;
  expect(upstream).toContain('openai (openai) https://api.openai.com');
  expect(upstream).not.toContain('sk-');
});
