import type { RefusedRecord } from '@spillway/core/engine';
import type { TapLog } from '@spillway/server/tap/record-tap';
import type { DeadLetters } from '@spillway/server/tap/sinks/dead-letter-sink';
import type { ServerClock, ServerTimer } from '@spillway/server/time/server-clock';

/** How often the log says that records are dead letters. */
const everyMs = 60_000;

export interface DeadLetterLogOptions {
  /** The tap's name. */
  readonly tap: string;
  /** The file of the letters. */
  readonly path: string;
  readonly clock: ServerClock;
  readonly log: TapLog;
}

/**
 * Says in the log that an engine refuses records for ever: at once of the first, and of the first one that is lost, and of all
 * that came since once a minute, and when it is closed.
 */
export class DeadLetterLog {
  readonly #options: DeadLetterLogOptions;
  /** What was not told: how many, those of them that are lost, and the first one. */
  #records = 0;
  #lost = 0;
  #first: RefusedRecord | undefined;
  /** Whether a loss was told within the last minute. */
  #hasToldLoss = false;
  /** Runs until the next line may come. */
  #rest: ServerTimer | undefined;

  constructor(options: DeadLetterLogOptions) {
    this.#options = options;
  }

  add({ areKept, refused }: DeadLetters): void {
    this.#records += refused.length;
    if (!areKept) this.#lost += refused.length;
    this.#first ??= refused[0];
    if (this.#rest === undefined || (!areKept && !this.#hasToldLoss)) this.#tell();
  }

  close(): void {
    this.#rest?.stop();
    if (this.#records > 0) this.#write();
  }

  #tell(): void {
    this.#rest?.stop();
    this.#rest = undefined;
    if (this.#records === 0) {
      this.#hasToldLoss = false;
      return;
    }
    this.#hasToldLoss = this.#lost > 0;
    this.#write();
    this.#rest = this.#options.clock.after(everyMs, () => this.#tell());
  }

  #write(): void {
    const { log, path, tap } = this.#options;
    const { record: { seq, stream } = {}, reason } = this.#first ?? {};
    const about = { tap, path, records: this.#records, lost: this.#lost, stream, seq, reason };
    log.error(about, 'what a tap writes to refuses records for ever: they are dead letters');
    this.#records = 0;
    this.#lost = 0;
    this.#first = undefined;
  }
}
