import { ErrorReply } from '@redis/client';
import { withoutSecret } from '@spillway/core/engine';

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
  const words = told instanceof Error ? told.message || told.name : String(told);
  // Where in which script it was helps nobody.
  const message = words.replace(/,? script: .*$/s, '').replace(/\.$/, '') + hintFor(told);
  return new RedisFailure(
    `${where}: ${withoutSecret(message, password)}`.slice(0, 500),
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
  if (error instanceof ErrorReply) return adviceFor(error.message);
  const { code } = Object(error) as { readonly code?: unknown };
  return typeof code === 'string' && unknownAuthority.has(code)
    ? ': expected a certificate by an authority that is known here; one of your own goes into NODE_EXTRA_CA_CERTS, or into tls.ca'
    : '';
}

function adviceFor(answer: string): string {
  if (answer.startsWith('WRONGTYPE'))
    return ': the key is no stream any more; remove it, or name another one with stream= in the URL';
  if (answer.includes('DB index is out of range'))
    return ': name a database that there is at the end of the URL, or raise databases in the configuration of Redis';
  return '';
}
