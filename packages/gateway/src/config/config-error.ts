import { SpillwayError } from '@spillway/core';

/** The configuration is invalid, and the gateway must not start with it. */
export class ConfigError extends SpillwayError<'config_invalid'> {
  constructor(message: string, options?: ErrorOptions) {
    super('config_invalid', message, options);
  }
}
