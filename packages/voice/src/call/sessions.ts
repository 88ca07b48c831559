import type { Clock } from '@spillway/core/clock';
import type { ModelEvent, ModelLeg } from '../model/model-leg.ts';
import type { ModelFailure } from './call-options.ts';
import { Timers } from './timers.ts';

/** What comes of a session, but for its end. */
export type SessionEvent = Exclude<ModelEvent, { readonly kind: 'ended' }>;

/** The sessions of a call, and who is told. */
export interface SessionsOptions {
  readonly clock: Pick<Clock, 'after'>;
  readonly readyTimeoutMs: number;
  /** Opens another one; `undefined`: there is none. May throw. Without it there never is one. */
  readonly reopen: ((failure: ModelFailure) => ModelLeg | undefined) | undefined;
  readonly onEvent: (event: SessionEvent) => void;
  /** The present session has failed. Called before `onReopening` or `onNone`. */
  readonly onFailed: () => void;
  readonly onReopening: (failure: ModelFailure, inMs: number) => void;
  readonly onOpened: (model: ModelLeg) => void;
  /** It has failed, and there is no other one. */
  readonly onNone: (failure: ModelFailure) => void;
}

/** Waits before a session is opened again, one after the other, until an answer ends well. */
const reopenAfterMs = [0, 1000, 2000] as const;

/** Texts that wait for a session to be ready: keys that were pressed, mostly. */
const maxUntold = 64;

/** The sessions of a model, one after the other. Only the present one is heard. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #timers: Timers<'ready' | 'reopen'>;
  #current: ModelLeg | undefined;
  /** Tools whose results the present one waits for. */
  readonly #askedTools = new Set<string>();
  /** What the next one is told when it is ready. */
  #untold: string[] = [];
  #isReady = false;
  #isOver = false;
  #failuresInARow = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  /** The present one; `undefined` while there is none. */
  get current(): ModelLeg | undefined {
    return this.#current;
  }

  /** The present one, if it takes audio. */
  get ready(): ModelLeg | undefined {
    return this.#isReady ? this.#current : undefined;
  }

  /** Begins with a session. */
  begin(model: ModelLeg): void {
    const { onEvent, readyTimeoutMs } = this.#options;
    this.#current = model;
    this.#timers.after('ready', readyTimeoutMs, () =>
      this.fail({ code: 'not_ready', message: `The model was not ready after ${readyTimeoutMs} ms.` }),
    );
    model.listen((event) => {
      if (this.#current !== model) return;
      if (event.kind === 'ended') this.fail(event);
      else if (event.kind !== 'ready') onEvent(event);
      else if (!this.#isReady) {
        this.#isReady = true;
        this.#timers.stop('ready');
        for (const text of this.#untold.splice(0)) model.tell(text);
        onEvent(event);
      }
    });
  }

  /** Tells the model something, when it is ready. */
  tell(text: string): void {
    if (this.ready !== undefined) this.ready.tell(text);
    else if (!this.#isOver) this.#untold = [...this.#untold, text].slice(-maxUntold);
  }

  /** The present one asks for a tool. */
  asksFor(toolCallId: string): void {
    this.#askedTools.add(toolCallId);
  }

  /** It does not want the result any more. */
  dropsTool(toolCallId: string): void {
    this.#askedTools.delete(toolCallId);
  }

  /** Gives the present one a tool's result. Returns `false` if it has not asked for it. */
  giveResult(toolCallId: string, output: string): boolean {
    const isAsked = this.#askedTools.delete(toolCallId);
    if (isAsked) this.#current?.giveResult(toolCallId, output);
    return isAsked;
  }

  /** An answer has ended well: what fails from now on has all its tries. */
  succeeded(): void {
    this.#failuresInARow = 0;
  }

  /** The present one does not go on: another one is opened, or there is none. */
  fail({ code, message }: ModelFailure): void {
    const { onFailed, onNone, onReopening, reopen } = this.#options;
    onFailed();
    this.#drop();
    if (this.#isOver) return;
    const inMs = reopenAfterMs[this.#failuresInARow];
    this.#failuresInARow += 1;
    if (inMs === undefined || reopen === undefined) {
      onNone({ code, message });
      return;
    }
    onReopening({ code, message }, inMs);
    if (this.#isOver) return;
    if (inMs === 0) this.#reopen({ code, message });
    else this.#timers.after('reopen', inMs, () => this.#reopen({ code, message }));
  }

  /** Ends the present one, and opens no other. Whoever is told something may do that. */
  close(): void {
    this.#isOver = true;
    this.#drop();
  }

  #drop(): void {
    this.#timers.stopAll();
    this.#isReady = false;
    this.#askedTools.clear();
    this.#current?.close();
    this.#current = undefined;
  }

  #reopen(failure: ModelFailure): void {
    const { onNone, onOpened, reopen } = this.#options;
    let model: ModelLeg | undefined;
    let { message } = failure;
    try {
      model = reopen?.(failure);
    } catch (error) {
      message = error instanceof Error ? error.message : String(error);
    }
    if (this.#isOver) model?.close();
    else if (model === undefined) onNone({ code: failure.code, message });
    else {
      onOpened(model);
      this.begin(model);
    }
  }
}
