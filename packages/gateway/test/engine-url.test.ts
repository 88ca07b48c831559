import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { engineKindOf, hasPassword, shownPlace } from '../src/config/engine-url.ts';
import { loadSettings } from '../src/config/load.ts';
import { type ConfiguredTap, keysUnlike, placeOf, sharedPlaces } from '../src/config/tap.ts';

test.each([
  ['redis://h:6379/0?stream=llm', 'redis://h:6379/0?stream=llm'],
  ['redis://user:pass@h:6379', 'redis://***@h:6379'],
  ['redis+sentinel://:pa@ss@h:1,i:2/name', 'redis+sentinel://***@h:1,i:2/name'],
  ['nats://token@h/llm', 'nats://***@h/llm'],
  ['kafka://u:a/b?c#d@h/llm', 'kafka://***@h/llm'],
  ['s3://b/p?region=eu&secretAccessKey=abc&endpoint=h', 's3://b/p?region=eu&secretAccessKey=***&endpoint=h'],
  ['kafka://h/t?sasl=plain&password=a', 'kafka://h/t?sasl=plain&password=***'],
  ['of no scheme:secret@h', '***@h'],
  ['file:a@b.jsonl', 'file:a@b.jsonl'],
])('%s is shown as %s', (to, shown) => {
  expect(shownPlace(to)).toBe(shown);
});

test('a password stands in a URL of an engine, and a token in one of NATS', () => {
  const urls = ['redis://:a@h', 'postgres://u:p@h/d', 'nats://token@h/s', 'tls://token@h/s'];
  expect(urls.filter((url) => !hasPassword(url))).toEqual([]);
  const bare = ['redis://u@h', 'redis://h:6379', 'kafka://h:1,i:2/t', 'nats://h:4222/s', 'file:a:b@c'];
  expect(bare.filter((url) => hasPassword(url))).toEqual([]);
});

test('only what begins as the URL of an engine is one', () => {
  expect(engineKindOf('postgresql://h/d')?.package).toBe('@spillway/postgres');
  expect(engineKindOf('s3://b')?.open).toBe('openS3Sink');
  for (const to of ['redis:h', 'constructor://h', 'redis://', 'http://h', 'file:redis://h', 'Redis://h'])
    expect(engineKindOf(to), to).toBeUndefined();
});

function taps(tap: string): readonly ConfiguredTap[] {
  return loadSettings({ flags: { tap }, env: { A: 'one', B: 'other' }, file: undefined }).taps;
}

test('as text, a URL may have several hosts, and words of its own', () => {
  expect(
    taps('name=a,to=kafka://one:9092,two,three:9092/llm?acks=all,gate=true to=nats://h/s?x=1'),
  ).toMatchObject([
    { name: 'a', to: 'kafka://one:9092,two,three:9092/llm?acks=all', gate: true },
    { name: 'tap', to: 'nats://h/s?x=1' },
  ]);
  expect(taps('kafka://one:9092,two:9092/llm')).toMatchObject([{ to: 'kafka://one:9092,two:9092/llm' }]);
});

test('who writes makes it no other place, and a place has one tap', () => {
  expect(placeOf('redis://a:b@h/0?stream=s')).toBe(placeOf('redis://h/0?stream=s'));
  for (const url of ['redis://h?stream=s', 'redis://h/?stream=s'])
    expect(placeOf(url)).toBe(placeOf('redis://h/0?stream=s'));
  expect(placeOf('redis://h/1')).not.toBe(placeOf('redis://h'));
  expect(placeOf('redis://h/0?stream=s')).not.toBe(placeOf('redis://h/0?stream=t'));
  expect(() => taps('name=a,to=redis://x:y@h name=b,to=redis://h')).toThrow(
    'expected a different place (to) for each, got one twice: a and b',
  );
});

test('taps whose URLs differ, and name one place, are told', () => {
  const places = (to: string, other: string): readonly string[] =>
    sharedPlaces(taps(`name=a,to=${to} name=b,to=${other}`));
  expect(places('redis://h/0?stream=s', 'redis://u@h/0?stream=s&maxlen=9')).toEqual(['a and b']);
  expect(places('postgres://h/d?table=x', 'postgres://h/d?json=1&table=x')).toEqual(['a and b']);
  expect(places('redis://h/0?stream=s', 'redis://h/0?stream=t')).toEqual([]);
  expect(places('nats://h/s?subject=x', 'nats://h/s?subject=y')).toEqual([]);
  expect(places('file:x', 'stdout:')).toEqual([]);
});

test('what an engine is opened with, and judged by, makes another writer', () => {
  const [one] = taps('to=redis://h,passwordEnv=A,groups=g');
  const others = [
    'to=redis://h,passwordEnv=B,groups=g',
    'to=redis://u@h,passwordEnv=A,groups=g',
    'to=redis://h,passwordEnv=A',
    'to=redis://h,passwordEnv=A,groups=g,gate=true',
    'to=redis://h,passwordEnv=A,groups=g,durability=fsync',
    'to=redis://h,passwordEnv=A,groups=g,deadLetters=a',
  ].flatMap(taps);
  if (one === undefined) throw new Error('there is no tap');
  expect(others.filter((other) => keysUnlike(one, other).length === 0)).toEqual([]);
  const [same] = taps('name=b,to=redis://h,passwordEnv=A,groups=g,content=text');
  expect(same && keysUnlike(one, same)).toEqual([]);
});

test('the file of taps to begin with is valid', () => {
  const path = join(import.meta.dirname, '../../../examples/taps.yaml');
  const file = { path, text: readFileSync(path, 'utf8') };
  const settings = loadSettings({ flags: {}, env: { KAFKA_PASSWORD: 'secret' }, file });
  expect(settings.taps.map(({ name, password }) => [name, password])).toEqual([
    ['audit', undefined],
    ['live', undefined],
    ['analytics', 'secret'],
    ['archive', undefined],
  ]);
});
