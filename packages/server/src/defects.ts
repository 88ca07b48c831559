/** The program's log for defects, in pino's form. */
export interface DefectLog {
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/**
 * Logs and counts defects: errors that nobody foresaw, in a timer, a callback or a listener. A contained defect ends
 * neither the process nor other work of the same timer.
 */
export class Defects {
  readonly #log: DefectLog;
  #count = 0;

  constructor(log: DefectLog) {
    this.#log = log;
  }

  /** The number of defects since the process started. */
  get count(): number {
    return this.#count;
  }

  /**
   * Logs and counts a defect. `where` names the part of the gateway, never text from a client. `request`: the id of the
   * request that met it.
   */
  caught(where: string, error: unknown, request?: string): void {
    this.#count += 1;
    this.#log.error({ err: error, where, request }, 'a defect of the gateway');
  }

  /** Calls `work`. If that throws, logs the error and calls `end`, which has to end the defective part. */
  contain(where: string, work: () => void, end?: () => void): void {
    try {
      work();
    } catch (error) {
      this.caught(where, error);
      if (end !== undefined) this.contain(where, end);
    }
  }
}
