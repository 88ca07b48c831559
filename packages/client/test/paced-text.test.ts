import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { expect, test } from 'vitest';
import { createPacedText, type PacedSnapshot, type PacedText } from '../src/paced-text.ts';
import { useStream } from '../src/react.ts';
import type { Screen } from '../src/screen.ts';

/** A screen that draws when the test says so. */
class FakeScreen implements Screen {
  isHidden = false;
  readonly clock = new VirtualClock();
  readonly frames = new Set<() => void>();
  readonly paints = new Set<() => void>();

  nowMs(): number {
    return this.clock.nowMs();
  }

  requestFrame(callback: () => void): () => void {
    this.frames.add(callback);
    return () => void this.frames.delete(callback);
  }

  requestPainted(callback: () => void): () => void {
    this.paints.add(callback);
    return () => void this.paints.delete(callback);
  }

  draw(): void {
    run(this.frames);
  }

  paint(): void {
    run(this.paints);
  }

  hide(): void {
    this.isHidden = true;
    run(this.frames);
  }
}

function run(callbacks: Set<() => void>): void {
  const all = [...callbacks];
  callbacks.clear();
  for (const callback of all) callback();
}

/** A source that gives what the test puts in, and counts what is taken. */
class FakeSource implements AsyncIterable<string> {
  taken = 0;
  returned = 0;
  lag = { items: 3, bytes: 30 };
  readonly #items: string[] = [];
  #wake = Promise.withResolvers<void>();
  #end: { error?: Error | undefined } | undefined;

  put(...items: string[]): void {
    this.#items.push(...items);
    this.#wake.resolve();
  }

  end(error?: Error): void {
    this.#end = { error };
    this.#wake.resolve();
  }

  [Symbol.asyncIterator](): AsyncIterator<string> {
    return {
      next: async () => {
        for (;;) {
          const value = this.#items.shift();
          if (value !== undefined) {
            this.taken++;
            return { done: false, value };
          }
          if (this.#end?.error !== undefined) throw this.#end.error;
          if (this.#end !== undefined) return { done: true, value: undefined };
          this.#wake = Promise.withResolvers();
          await this.#wake.promise;
        }
      },
      return: () => {
        this.returned++;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

interface Setup {
  screen: FakeScreen;
  source: FakeSource;
  paced: PacedText<string>;
  snapshots: PacedSnapshot[];
  painted: string[];
}

function setUp(): Setup {
  const screen = new FakeScreen();
  const painted: string[] = [];
  const paced = createPacedText<string>({ toText: String, onPainted: (item) => painted.push(item), screen });
  const snapshots: PacedSnapshot[] = [];
  paced.subscribe(() => snapshots.push(paced.getSnapshot()));
  return { screen, source: new FakeSource(), paced, snapshots, painted };
}

/** Lets everything run that can. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('what comes within a frame is shown once, and noted when it is painted', async () => {
  const { paced, painted, screen, snapshots, source } = setUp();
  expect(paced.getSnapshot().state).toBe('idle');
  paced.start(() => source);
  expect(snapshots).toMatchObject([{ state: 'waiting', text: '' }]);
  source.put('a', 'b', 'c');
  await settle();
  expect(snapshots).toHaveLength(1);
  screen.draw();
  expect(snapshots).toHaveLength(2);
  expect(paced.getSnapshot()).toEqual({
    text: 'abc',
    state: 'streaming',
    error: undefined,
    lag: { items: 3, bytes: 30 },
  });
  source.put('d');
  await settle();
  expect(painted).toEqual([]);
  screen.paint();
  expect(painted).toEqual(['c']);
  screen.draw();
  screen.paint();
  expect(paced.getSnapshot().text).toBe('abcd');
  expect(painted).toEqual(['c', 'd']);
  source.put('e');
  await settle();
  source.end();
  await settle();
  expect(paced.getSnapshot()).toEqual({ text: 'abcde', state: 'done', error: undefined, lag: undefined });
  expect(snapshots).toHaveLength(4);
  expect([screen.frames.size, screen.paints.size]).toEqual([0, 0]);
});

test('a page that is slow takes no more than it can show', async () => {
  const { paced, screen, source } = setUp();
  paced.start(() => source);
  source.put(...Array.from({ length: 100 }, () => 'x'.repeat(1000)));
  await settle();
  expect(source.taken).toBe(5);
  screen.draw();
  await settle();
  // It is shown, but not painted.
  expect(source.taken).toBe(5);
  screen.paint();
  await settle();
  expect(source.taken).toBe(10);
});

test('a page that nobody sees takes everything, without frames', async () => {
  const { paced, painted, screen, source } = setUp();
  paced.start(() => source);
  source.put(...Array.from({ length: 20 }, () => 'x'.repeat(1000)));
  await settle();
  expect(source.taken).toBe(5);
  screen.hide();
  await settle();
  expect(source.taken).toBe(20);
  expect(painted).not.toEqual([]);
  expect(screen.frames.size).toBe(0);
  source.put('y');
  source.end();
  await settle();
  expect(paced.getSnapshot().text).toHaveLength(20_001);
});

test('a source that fails shows what came before', async () => {
  const { paced, source } = setUp();
  paced.start(() => Promise.resolve(source));
  source.put('a');
  source.end(new Error('Broken.'));
  await settle();
  expect(paced.getSnapshot()).toMatchObject({ text: 'a', state: 'failed', error: { message: 'Broken.' } });
  paced.start(() => Promise.reject(new Error('Refused.')));
  expect(paced.getSnapshot()).toMatchObject({ text: '', state: 'waiting', error: undefined });
  await settle();
  expect(paced.getSnapshot()).toMatchObject({ text: '', state: 'failed', error: { message: 'Refused.' } });
});

test('stop aborts, shows what has come, and takes nothing more', async () => {
  const { paced, screen, snapshots, source } = setUp();
  let signal: AbortSignal | undefined;
  paced.start((given) => {
    signal = given;
    return source;
  });
  source.put('a');
  await settle();
  paced.stop();
  expect(signal?.aborted).toBe(true);
  expect(source.returned).toBe(1);
  expect(paced.getSnapshot()).toMatchObject({ text: 'a', state: 'stopped' });
  const { length } = snapshots;
  source.put('b');
  source.end(new Error('Aborted.'));
  await settle();
  expect(snapshots).toHaveLength(length);
  expect([screen.frames.size, screen.paints.size]).toEqual([0, 0]);
  paced.stop();
  expect(snapshots).toHaveLength(length);
});

test('a start ends the source before, and one that opens too late is left', async () => {
  const { paced, screen, source } = setUp();
  const late = Promise.withResolvers<FakeSource>();
  paced.start(() => late.promise);
  paced.start(() => source);
  const lateSource = new FakeSource();
  lateSource.put('late');
  late.resolve(lateSource);
  source.put('a');
  await settle();
  screen.draw();
  expect(paced.getSnapshot().text).toBe('a');
  expect([lateSource.taken, lateSource.returned]).toEqual([0, 1]);
});

test('dispose tells nobody, and a start after it works', async () => {
  const { paced, screen, snapshots, source } = setUp();
  paced.start(() => source);
  source.put('a');
  await settle();
  const { length } = snapshots;
  paced.dispose();
  await settle();
  expect(snapshots).toHaveLength(length);
  expect(source.returned).toBe(1);
  const second = new FakeSource();
  paced.start(() => second);
  second.put('b');
  await settle();
  screen.draw();
  expect(paced.getSnapshot()).toMatchObject({ text: 'b', state: 'streaming' });
});

test('a `toText` that throws fails, and leaves the source', async () => {
  const source = new FakeSource();
  const paced = createPacedText<string>({
    toText: () => {
      throw new Error('No text.');
    },
    screen: new FakeScreen(),
  });
  paced.start(() => source);
  source.put('a');
  await settle();
  expect(paced.getSnapshot()).toMatchObject({ state: 'failed', error: { message: 'No text.' } });
  expect(source.returned).toBe(1);
});

test('on a server the hook renders what there is: nothing', () => {
  const Answer = (): string => {
    const { state, text } = useStream();
    return `${state}:${text}`;
  };
  expect(renderToString(createElement(Answer))).toBe('idle:');
});
