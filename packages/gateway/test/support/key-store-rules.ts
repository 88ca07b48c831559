import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { KeyStore, StoredKey } from '../../src/keys/key-store.ts';
import { type Command, spawnNode } from './spawn.ts';

/** Where a test keeps keys, and what it sees of it beside the store. */
export interface KeyEngine {
  readonly open: () => KeyStore;
  /** The text as it stands there; empty: there is none. */
  readonly text: () => Promise<string>;
  readonly write: (text: string) => Promise<void>;
  /** What `support/key-changer.ts` opens: a file's path or a Redis' URL. */
  readonly place: string;
}

interface KeyStoreRule {
  readonly number: number;
  readonly name: string;
  readonly check: (engine: KeyEngine) => Promise<void>;
}

const changer = new URL('key-changer.ts', import.meta.url).pathname;
const processes = 4;
const changesEach = 25;

export function someKey(name: string, more: Partial<StoredKey> = {}): StoredKey {
  return { name, digest: randomBytes(32), limits: {}, createdMs: 1_700_000_000_000, ...more };
}

/** What everybody relies on who keeps keys somewhere, whatever that is. */
export const keyStoreRules: readonly KeyStoreRule[] = [
  {
    number: 1,
    name: 'what is added is listed, in its order and whole',
    check: async (engine) => {
      const store = engine.open();
      await expect(store.list()).resolves.toEqual([]);
      const keys = [
        someKey('b', { limits: { streams: 3, requests: '10/s' }, expiresMs: 1_900_000_000_000 }),
        someKey('a/front'),
      ];
      await store.update(() => keys);
      await store.update(() => [someKey('0')]);
      const listed = await engine.open().list();
      expect(listed.map(({ name }) => name)).toEqual(['b', 'a/front', '0']);
      expect(listed.slice(0, 2)).toMatchObject(keys);
    },
  },
  {
    number: 2,
    name: 'a key of a digest that is there replaces that one, at its place',
    check: async (engine) => {
      const store = engine.open();
      const [first, second] = [someKey('a'), someKey('b')];
      await store.update(() => [first, second]);
      await store.update(([key]) => (key === undefined ? [] : [{ ...key, revokedMs: 1_800_000_000_000 }]));
      const listed = await store.list();
      expect(listed.map(({ name, revokedMs }) => [name, revokedMs])).toEqual([
        ['a', 1_800_000_000_000],
        ['b', undefined],
      ]);
    },
  },
  {
    number: 3,
    name: 'comments and lines that nobody changes stay, byte by byte',
    check: async (engine) => {
      const line = `a sha256:${'ab'.repeat(32)}   streams=2`;
      const before = `# the desk: Müller\n\n${line}\n  # end\n`;
      await engine.write(before);
      const other = someKey('b');
      await engine.open().update(() => [other]);
      const text = await engine.text();
      expect(text).toBe(
        `${before}b sha256:${other.digest.toString('hex')} created=${new Date(other.createdMs ?? 0).toISOString().replace('.000', '')}\n`,
      );
    },
  },
  {
    number: 4,
    name: `of ${processes} processes with ${changesEach} changes each, none is lost`,
    check: async (engine) => {
      const names = Array.from({ length: processes }, (_, index) => `p${index}`);
      const running = names.map((name): Command =>
        spawnNode(changer, [engine.place, name, String(changesEach)]),
      );
      try {
        const codes = await Promise.all(running.map((command) => command.exited));
        expect(running.map((command) => command.stderr())).toEqual(names.map(() => ''));
        expect(codes).toEqual(names.map(() => 0));
      } finally {
        for (const command of running) command.process.kill('SIGKILL');
      }
      const listed = (await engine.open().list()).map(({ name }) => name);
      for (const name of names) {
        const own = Array.from({ length: changesEach }, (_, index) => `${name}/${index}`);
        expect(listed.filter((other) => other.startsWith(`${name}/`))).toEqual(own);
      }
    },
  },
  {
    number: 5,
    name: 'a change that throws, and one of nothing, change nothing',
    check: async (engine) => {
      await engine.write('# none\n');
      const store = engine.open();
      const thrown = new Error('no such key');
      await expect(
        store.update(() => {
          throw thrown;
        }),
      ).rejects.toBe(thrown);
      await store.update(() => []);
      await expect(engine.text()).resolves.toBe('# none\n');
      await store.update(() => [someKey('a')]);
      await expect(store.list()).resolves.toHaveLength(1);
    },
  },
  {
    number: 6,
    name: 'a text that a gateway would refuse is neither listed nor changed nor written',
    check: async (engine) => {
      const good = `a sha256:${'ab'.repeat(32)} streams=2\n`;
      const bad = `${good}b sha256:short\n`;
      await engine.write(bad);
      const store = engine.open();
      await expect(store.list()).rejects.toMatchObject({
        code: 'config_invalid',
        message: expect.stringContaining('line 2: expected KEY'),
      });
      await expect(store.update(() => [someKey('c')])).rejects.toThrow('line 2: expected KEY');
      await expect(engine.text()).resolves.toBe(bad);
      await engine.write(good);
      await expect(store.update(() => [someKey('a', { limits: { streams: 3 } })])).rejects.toThrow(
        'line 2: expected the limits of',
      );
      await expect(engine.text()).resolves.toBe(good);
    },
  },
  {
    number: 7,
    name: 'a text does not grow beyond 4 MiB, and one that has is not read',
    check: async (engine) => {
      const comment = `# ${'x'.repeat(1021)}\n`;
      const full = comment.repeat(4096).slice(0, -100);
      await engine.write(`${full}\n`);
      const store = engine.open();
      await expect(store.update(() => [someKey('a')])).rejects.toMatchObject({
        code: 'config_invalid',
        message: expect.stringContaining('at most 4 MiB of keys'),
      });
      expect((await engine.text()).length).toBe(full.length + 1);
      await engine.write(`${full}\n${comment}`);
      await expect(store.list()).rejects.toMatchObject({ code: 'config_invalid' });
    },
  },
];
