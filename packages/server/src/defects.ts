/** Where defects are logged: pino's way. */
export interface DefectLog {
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/**
 * What of ours failed in a way that nobody foresaw, in a timer, a callback or a listener: logged and counted, so that it
 * ends neither the process nor what else the same timer looks after.
 */
export class Defects {
  readonly #log: DefectLog;
  #count = 0;

  constructor(log: DefectLog) {
    this.#log = log;
  }

  /** How many there were since the process started. */
  get count(): number {
    return this.#count;
  }

  /** Notes one. `where` names the part of the gateway, never anything that a client wrote. */
  caught(where: string, error: unknown): void {
    this.#count += 1;
    this.#log.error({ err: error, where }, 'a defect of the gateway');
  }

  /** Calls `work`. What it throws is noted, and then `end` is called, which ends what has the defect. */
  contain(where: string, work: () => void, end?: () => void): void {
    try {
      work();
    } catch (error) {
      this.caught(where, error);
      if (end !== undefined) this.contain(where, end);
    }
  }
}
