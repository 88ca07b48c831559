import { SpillwayError } from '@spillway/core';

/** A configuration with which the gateway must not start. */
export class ConfigError extends SpillwayError<'config_invalid'> {
  constructor(message: string, options?: ErrorOptions) {
    super('config_invalid', message, options);
  }
}
