/** Redis is not there, or refuses. The message has no secret. */
export class RedisFailure extends Error {
  override readonly name = 'RedisFailure';
}

/**
 * Makes a failure of whatever was thrown. A server that does not know a command quotes its arguments, and so a password: it
 * is taken out, and the original is not kept as a cause.
 */
export function redisFailure(where: string, error: unknown, password: string | undefined): RedisFailure {
  const told = error instanceof AggregateError ? error.errors[0] : error;
  const message = told instanceof Error ? told.message || told.name : String(told);
  return new RedisFailure(
    `${where}: ${password ? message.replaceAll(password, '[password]') : message}`.slice(0, 500),
  );
}
