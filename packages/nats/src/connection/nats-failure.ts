import { withoutSecret } from '@spillway/core/engine';

/** A NATS is not there, or refuses. The message has no secret. */
export class NatsFailure extends Error {
  override readonly name = 'NatsFailure';
  /** Whether the server has answered that user, secret or rights are not enough. */
  readonly isDenied: boolean;

  constructor(message: string, isDenied = false) {
    super(message);
    this.isDenied = isDenied;
  }
}

/** Nobody takes what was sent: no stream has that subject, there is no JetStream, or a cluster has no leader at the moment. */
export class NobodyAnswers extends NatsFailure {}

/** The client's names of such answers. */
const denials = new Set(['AuthorizationError', 'PermissionViolationError', 'UserAuthenticationExpiredError']);

/** Makes a failure of whatever was thrown. Secrets are taken out, and the original is not kept as a cause. */
export function natsFailure(
  where: string,
  error: unknown,
  secrets: readonly (string | undefined)[],
): NatsFailure {
  if (error instanceof NatsFailure) return error;
  const told = error instanceof AggregateError ? error.errors[0] : error;
  let message = told instanceof Error ? told.message || told.name : String(told);
  for (const secret of secrets) message = withoutSecret(message, secret);
  const isDenied = told instanceof Error && denials.has(told.name);
  return new NatsFailure(`${where}: ${message}`.slice(0, 500), isDenied);
}
