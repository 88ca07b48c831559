import type { TapLog } from '@spillway/server/tap/record-tap';

type Fields = Parameters<TapLog['info']>[0];

/**
 * The log of what a tap writes to. When no tap in force writes there any more its lines say so: another tap may have the name
 * by then.
 */
export class LeavingLog implements TapLog {
  readonly #log: TapLog;
  isLeaving = false;

  constructor(log: TapLog) {
    this.#log = log;
  }

  info(fields: Fields, message: string): void {
    this.#log.info(this.#marked(fields), message);
  }

  error(fields: Fields, message: string): void {
    this.#log.error(this.#marked(fields), message);
  }

  #marked(fields: Fields): Fields {
    return this.isLeaving ? { ...fields, leaving: true } : fields;
  }
}
