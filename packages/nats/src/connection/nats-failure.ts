/** A NATS is not there, or refuses. The message has no secret. */
export class NatsFailure extends Error {
  override readonly name = 'NatsFailure';
}

/** Makes a failure of whatever was thrown. Secrets are taken out, and the original is not kept as a cause. */
export function natsFailure(
  where: string,
  error: unknown,
  secrets: readonly (string | undefined)[],
): NatsFailure {
  if (error instanceof NatsFailure) return error;
  const told = error instanceof AggregateError ? error.errors[0] : error;
  let message = told instanceof Error ? told.message || told.name : String(told);
  for (const secret of secrets) if (secret) message = message.replaceAll(secret, '[secret]');
  return new NatsFailure(`${where}: ${message}`.slice(0, 500));
}
