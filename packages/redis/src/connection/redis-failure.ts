import { ErrorReply } from '@redis/client';

/** Redis is not there, or refuses. The message has no secret. */
export class RedisFailure extends Error {
  override readonly name = 'RedisFailure';
  /** Whether Redis has answered that user, password or rights are not enough. */
  readonly isDenied: boolean;

  constructor(message: string, isDenied = false) {
    super(message);
    this.isDenied = isDenied;
  }
}

/** How Redis begins such an answer; what has no word of its own is of servers before 6. */
const denials = /^(?:WRONGPASS|NOAUTH|NOPERM|DENIED|ERR invalid password|ERR AUTH |ERR Client sent AUTH)/;

/**
 * Makes a failure of whatever was thrown. A server that does not know a command quotes its arguments, and so a password: it
 * is taken out, and the original is not kept as a cause.
 */
export function redisFailure(where: string, error: unknown, password: string | undefined): RedisFailure {
  const told = error instanceof AggregateError ? error.errors[0] : error;
  const message = (told instanceof Error ? told.message || told.name : String(told)) + hintFor(told);
  return new RedisFailure(
    `${where}: ${password ? message.replaceAll(password, '[password]') : message}`.slice(0, 500),
    told instanceof ErrorReply && denials.test(told.message),
  );
}

/** What Node says of a certificate whose authority it does not know. */
const unknownAuthority = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

function hintFor(error: unknown): string {
  const { code } = Object(error) as { readonly code?: unknown };
  return typeof code === 'string' && unknownAuthority.has(code)
    ? ': expected a certificate by an authority that is known here; one of your own goes into NODE_EXTRA_CA_CERTS, or into tls.ca'
    : '';
}
