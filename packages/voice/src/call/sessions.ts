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

/** The sessions of a model, one after the other. Only the present one is heard. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #timers: Timers<'ready' | 'reopen'>;
  #current: ModelLeg | undefined;
  #isReady = false;
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
        onEvent(event);
      }
    });
  }

  /** An answer has ended well: what fails from now on has all its tries. */
  succeeded(): void {
    this.#failuresInARow = 0;
  }

  /** The present one does not go on: another one is opened, or there is none. */
  fail({ code, message }: ModelFailure): void {
    const { onFailed, onNone, onReopening, reopen } = this.#options;
    onFailed();
    this.close();
    const inMs = reopenAfterMs[this.#failuresInARow];
    this.#failuresInARow += 1;
    if (inMs === undefined || reopen === undefined) {
      onNone({ code, message });
      return;
    }
    onReopening({ code, message }, inMs);
    if (inMs === 0) this.#reopen({ code, message });
    else this.#timers.after('reopen', inMs, () => this.#reopen({ code, message }));
  }

  /** Ends the present one, and opens no other. */
  close(): void {
    this.#timers.stopAll();
    this.#isReady = false;
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
    if (model === undefined) onNone({ code: failure.code, message });
    else {
      onOpened(model);
      this.begin(model);
    }
  }
}
