import { SpillwayError } from '../errors.ts';

const otherRights =
  'It is there, and does not let this user do that: change user, password or rights; waiting does not.';

/**
 * The engine of a sink has answered, and does not let in who writes, or not do what a sink has to: its user, its password or
 * its rights are wrong. Unlike an engine that is away, waiting does not mend it. The code is `sink_failed`, because whoever has
 * a sink already tries again all the same: somebody may change the engine.
 */
export class SinkDenied extends SpillwayError<'sink_failed'> {
  /** Tells it from other errors with that code, also where a package has a copy of this class of its own. */
  readonly isDenied = true;

  /**
   * @param message What the engine said, without secrets. What to do is added.
   * @param advice In sentences. Default: that user, password or rights have to be changed.
   */
  constructor(
    message: string,
    { advice = otherRights, ...options }: ErrorOptions & { readonly advice?: string } = {},
  ) {
    super('sink_failed', `${message.replace(/\.$/, '')}. ${advice}`, options);
  }
}
