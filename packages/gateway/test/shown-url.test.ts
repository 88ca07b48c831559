import { expect, test } from 'vitest';
import { loadSettings } from '../src/config/load.ts';
import { shownUrl } from '../src/config/shown-url.ts';

test.each([
  ['wss://u:p@h/v1/listen?token=SEKRET', 'wss://***@h/v1/listen?token=***'],
  ['https://h/v1?api-version=1&api_key=SEKRET&x=2', 'https://h/v1?api-version=1&api_key=***&x=2'],
  ['https://h/?sig=SEKRET#access_token=SEKRET', 'https://h/?sig=***#access_token=***'],
  ['https://h/?a=b?key=SEKRET', 'https://h/?a=b?key=***'],
  ['https://h/?a=1;pwd=SEKRET', 'https://h/?a=1;pwd=***'],
  ['https://h/?x-amz-credential=SEKRET&code=SEKRET', 'https://h/?x-amz-credential=***&code=***'],
  ['https://h/?KEY=SEKRET SEKRET', 'https://h/?KEY=***'],
  ['https://u:SEK/SEKRET@h', 'https://***@h'],
  ['https://u:SEK@SEKRET@h', 'https://***@h'],
  ['https:u:SEKRET@h', 'https:***@h'],
  [String.raw`https:\\u:SEKRET@h`, String.raw`https:\\***@h`],
  ['name=a,url=http://u:SEKRET@h', 'name=a,url=http://***@h'],
  ['a line\nhttps://u:SEK\nSEKRET@h', 'a line\nhttps://***@h'],
  ['https://h/v1?bypass=1&voice=nova', 'https://h/v1?bypass=1&voice=nova'],
  ['me@example', 'me@example'],
])('%j is shown as %j', (text, shown) => {
  expect(shownUrl(text)).toBe(shown);
});

const withQuery = ['token', 'key', 'api_key'].map((name) => `https://u:SEKRET@h/?${name}=SEKRET`);
const cascade = { recognise: 'openai/a', reason: 'openai/m', speak: 'openai/b' };
const tool = { name: 'a', description: 'b' };
const voiced = (voice: object): object => ({ voice: { publicUrl: 'https://c.example', ...voice } });

/** Settings that are refused, with a URL in each. */
const places: Readonly<Record<string, (url: string) => object>> = {
  provider: (url) => ({ upstream: [{ url }] }),
  proxy: (url) => ({ upstream: [{ url: 'https://h/v1', proxy: url }] }),
  recogniser: (url) => voiced({ cascade: { ...cascade, recognise: { model: 'deepgram/nova-3', url } } }),
  speaker: (url) => voiced({ cascade: { ...cascade, speak: { model: 'elevenlabs/Bob', url } } }),
  tool: (url) => voiced({ tools: [{ ...tool, url }] }),
  carrier: (url) => ({ voice: { publicUrl: url } }),
  limits: (url) => ({ limitStore: url.replace('https', 'redis') }),
  keys: (url) => ({ apiKeysStore: url.replace('https', 'redis') }),
  tap: (url) => ({ tap: [{ to: url }] }),
  flag: (url) => ({ maxStreams: url }),
};

test.each(Object.entries(places))('the error of the URL of a %s has no secret in it', (_place, settings) => {
  const urls = [
    ...withQuery,
    'https://u:SEK/SEKRET@h',
    'https://u:p@h#token=SEKRET',
    'ftp://h/?token=SEKRET',
    'h:1/?token=SEKRET',
  ];
  for (const url of urls) {
    let message = 'it is taken';
    try {
      const text = JSON.stringify(settings(url));
      const env = {
        OPENAI_API_KEY: 'a',
        DEEPGRAM_API_KEY: 'b',
        ELEVENLABS_API_KEY: 'c',
        TWILIO_AUTH_TOKEN: 'd',
      };
      loadSettings({ flags: {}, env, file: { path: 'a', text } });
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message, url).toContain('expected ');
    expect(message, url).not.toContain('SEKRET');
  }
});
