import { notify } from './notify.ts';
import { pageScreen, type Screen } from './screen.ts';
import type { StreamLag } from './stream-reader.ts';

/**
 * How far a text is: `idle` before the first `start`; `waiting` until something comes; `streaming`; then `done`,
 * `failed`, or `stopped` by `stop`.
 */
export type PacedState = 'done' | 'failed' | 'idle' | 'stopped' | 'streaming' | 'waiting';

/** What is to be shown. It is another object when something of it has changed. */
export interface PacedSnapshot {
  readonly text: string;
  readonly state: PacedState;
  /** Why it `failed`; `undefined` in any other state. */
  readonly error: unknown;
  /** What a {@link StreamReader} has not shown yet; `undefined` for other sources. */
  readonly lag: StreamLag | undefined;
}

/** Where a text comes from: a reader, or the stream of an SDK. */
export type PacedSource<Item> = AsyncIterable<Item> & { readonly lag?: StreamLag };

/** Opens what is to be shown. The signal is aborted when nobody wants it any more. */
export type OpenSource<Item> = (signal: AbortSignal) => PacedSource<Item> | Promise<PacedSource<Item>>;

export interface PacedTextOptions<Item> {
  /** The text of an item; empty if it has none. */
  readonly toText: (item: Item) => string;
  /**
   * Called for the last item of each frame, when it and all before it are on the screen; in a page that nobody sees,
   * when they are rendered.
   */
  readonly onPainted?: ((item: Item) => void) | undefined;
  /** Default: the page's. */
  readonly screen?: Screen;
}

/** A text that grows, at the pace of the screen. */
export interface PacedText<Item> {
  /** Shows another source instead of the one before, from an empty text. */
  readonly start: (open: OpenSource<Item>) => void;
  /** Ends it; what has come stays. */
  readonly stop: () => void;
  /** Ends it, and tells nobody. */
  readonly dispose: () => void;
  readonly getSnapshot: () => PacedSnapshot;
  readonly subscribe: (listener: () => void) => () => void;
}

// More than this is not taken before it is on the screen: a few lines, of which nobody reads more in a frame.
const maxUnpaintedChars = 4096;

// How often a page is rendered that nobody sees.
const hiddenFrameMs = 250;

/**
 * Collects what comes and shows it once a frame. It takes no more when a frame is late, so that a slow page is
 * waited for: by the reader, by the gateway, and at last by the model.
 */
export function createPacedText<Item>(options: PacedTextOptions<Item>): PacedText<Item> {
  const { screen = pageScreen } = options;
  const listeners = new Set<() => void>();
  let snapshot: PacedSnapshot = { text: '', state: 'idle', error: undefined, lag: undefined };
  let run: Run<Item> | undefined;

  function publish(next: Partial<PacedSnapshot>): void {
    snapshot = { ...snapshot, ...next };
    for (const listener of listeners) listener();
  }

  function end(): boolean {
    if (run === undefined) return false;
    const ended = run;
    run = undefined;
    ended.stop();
    snapshot = { ...snapshot, text: snapshot.text + ended.takeText(), state: 'stopped' };
    return true;
  }

  return {
    start(open) {
      end();
      const next = new Run(options, screen, (change) => {
        if (run !== next) return;
        if (change.state !== 'streaming') run = undefined;
        publish({ ...change, text: snapshot.text + change.text });
      });
      run = next;
      publish({ text: '', state: 'waiting', error: undefined, lag: undefined });
      void next.read(open);
    },
    stop() {
      if (end()) publish({});
    },
    dispose: () => void end(),
    getSnapshot: () => snapshot,
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** One source, from its start to its end. */
class Run<Item> {
  readonly #options: PacedTextOptions<Item>;
  readonly #screen: Screen;
  readonly #show: (change: PacedSnapshot) => void;
  readonly #abort = new AbortController();
  #source: PacedSource<Item> | undefined;
  #iterator: AsyncIterator<Item> | undefined;
  /** Taken and not shown. */
  #text = '';
  /** Taken, and not on the screen as far as is known. */
  #unpaintedChars = 0;
  #last: { readonly item: Item } | undefined;
  #shownAt = 0;
  #cancelFrame: (() => void) | undefined;
  #onPainted: (() => void) | undefined;

  constructor(options: PacedTextOptions<Item>, screen: Screen, show: (change: PacedSnapshot) => void) {
    this.#options = options;
    this.#screen = screen;
    this.#show = show;
  }

  async read(open: OpenSource<Item>): Promise<void> {
    try {
      this.#source = await open(this.#abort.signal);
      this.#iterator = this.#source[Symbol.asyncIterator]();
      // Nobody waits for a source that does not listen to its signal: whatever it says later is nobody's.
      if (this.#abort.signal.aborted) this.#leave();
      while (!this.#abort.signal.aborted) {
        const { done, value } = await this.#iterator.next();
        if (done === true) break;
        this.#take(value);
        if (this.#isFull) await new Promise<void>((resolve) => (this.#onPainted = resolve));
      }
      this.#finish('done', undefined);
    } catch (error) {
      this.#finish('failed', error);
      this.#abort.abort();
      this.#leave();
    }
  }

  stop(): void {
    this.#abort.abort();
    this.#leave();
    this.#cancelFrame?.();
    this.#onPainted?.();
  }

  takeText(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  get #isFull(): boolean {
    return this.#unpaintedChars >= maxUnpaintedChars && !this.#screen.isHidden && !this.#abort.signal.aborted;
  }

  #take(item: Item): void {
    if (this.#abort.signal.aborted) return;
    const text = this.#options.toText(item);
    this.#text += text;
    this.#unpaintedChars += text.length;
    this.#last = { item };
    if (this.#screen.isHidden) {
      // No timer: a hidden page has to wait a minute for one.
      if (this.#screen.nowMs() - this.#shownAt >= hiddenFrameMs) this.#frame();
    } else {
      this.#cancelFrame ??= this.#screen.requestFrame(() => this.#frame());
    }
  }

  #frame(): void {
    this.#cancelFrame?.();
    const chars = this.#text.length;
    const last = this.#last;
    const { lag } = this.#source ?? {};
    this.#shownAt = this.#screen.nowMs();
    this.#show({ text: this.takeText(), state: 'streaming', error: undefined, lag });
    const painted = (): void => {
      this.#cancelFrame = undefined;
      this.#painted(chars, last);
    };
    if (this.#screen.isHidden) painted();
    else this.#cancelFrame = this.#screen.requestPainted(painted);
  }

  #painted(chars: number, last: { readonly item: Item } | undefined): void {
    this.#unpaintedChars -= chars;
    // What came between the frame and its paint is shown in the next one.
    if (this.#text !== '' && !this.#screen.isHidden) {
      this.#cancelFrame = this.#screen.requestFrame(() => this.#frame());
    }
    if (last !== undefined) notify(this.#options.onPainted, last.item);
    this.#onPainted?.();
  }

  #finish(state: 'done' | 'failed', error: unknown): void {
    this.#cancelFrame?.();
    this.#show({ text: this.takeText(), state, error, lag: undefined });
  }

  #leave(): void {
    const left = this.#iterator?.return?.();
    // It was asked to end, and how it does is of no interest.
    left?.catch(() => {});
  }
}
