import { notify } from './notify.ts';
import { pageScreen, type Screen } from './screen.ts';
import type { StreamLag } from './stream-reader.ts';

/**
 * The state of a text: `idle` before the first `start`; `waiting` until the first item comes; `streaming`; then `done`,
 * `failed`, or `stopped` by `stop`.
 */
export type PacedState = 'done' | 'failed' | 'idle' | 'stopped' | 'streaming' | 'waiting';

/** A text and its state, to be shown. Every change makes a new object. */
export interface PacedSnapshot {
  readonly text: string;
  readonly state: PacedState;
  /** The error of the state `failed`; `undefined` in any other state. */
  readonly error: unknown;
  /** The lag of a {@link StreamReader}: its chunks that are not shown yet. `undefined` for other sources. */
  readonly lag: StreamLag | undefined;
}

/** The source of a text: a reader, or the stream of an SDK. */
export type PacedSource<Item> = AsyncIterable<Item> & { readonly lag?: StreamLag };

/** Opens the source of a text. The signal is aborted when the text is not wanted any more. */
export type OpenSource<Item> = (signal: AbortSignal) => PacedSource<Item> | Promise<PacedSource<Item>>;

export interface PacedTextOptions<Item> {
  /** Returns the text of an item; empty if the item has none. */
  readonly toText: (item: Item) => string;
  /**
   * Called for the last item of each frame, when that item and all before it are on the screen. In a hidden page: when
   * they are rendered.
   */
  readonly onPainted?: ((item: Item) => void) | undefined;
  /** The screen whose frames set the pace. Default: the page's. */
  readonly screen?: Screen;
}

/** A text that grows, at the pace of the screen. */
export interface PacedText<Item> {
  /** Shows another source instead of the present one, beginning with an empty text. */
  readonly start: (open: OpenSource<Item>) => void;
  /** Ends the source; its text stays. */
  readonly stop: () => void;
  /** Ends the source without a call to the listeners. */
  readonly dispose: () => void;
  readonly getSnapshot: () => PacedSnapshot;
  readonly subscribe: (listener: () => void) => () => void;
}

// No more text than this is taken before it is on the screen: a few lines, more than anybody reads in a frame.
const maxUnpaintedChars = 4096;

// How often a hidden page is rendered.
const hiddenFrameMs = 250;

/**
 * Collects the text of a source and shows it once a frame. While a frame is late, no more items are taken. So the
 * reader, the gateway and at last the model wait for a slow page.
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
  /** The text that was taken and is not shown. */
  #text = '';
  /** The length of the text that was taken and is not known to be on the screen. */
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
      // A source may ignore its signal. A source that opens after an abort is left at once.
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
      // No timer, because a timer may take a minute in a hidden page.
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
    // Text that came between the frame and its paint is shown in the next frame.
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
    // The source was asked to end, so its error does not matter.
    left?.catch(() => {});
  }
}
