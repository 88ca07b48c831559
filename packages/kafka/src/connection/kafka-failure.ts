import { withoutSecret } from '@spillway/core/engine';
import { AuthenticationError, ProtocolError, protocolErrorsCodesById } from '@platformatic/kafka';

/** A broker is not there, or answers with an error. The message has no secret. */
export class KafkaFailure extends Error {
  override readonly name = 'KafkaFailure';
  /** Kafka's own number of the error; 0: there was no answer. */
  readonly kafkaCode: number;

  constructor(message: string, kafkaCode = 0) {
    super(message);
    this.kafkaCode = kafkaCode;
  }
}

/** Where a partition is led, or a group is kept, has changed: another look at the metadata tells. */
const movedCodes: ReadonlySet<number> = new Set([3, 5, 6, 9, 15, 16, 74, 75]);

/** Whether whoever was asked is not the one any more. */
export function hasMoved(error: unknown): boolean {
  return error instanceof KafkaFailure && movedCodes.has(error.kafkaCode);
}

/** Topic, group or cluster are not for this user; and what a broker says to a login. */
const denials: ReadonlySet<number> = new Set([29, 30, 31, 33, 34, 53, 58]);

/** Whether a broker has answered that user, password or rights are not enough. */
export function isDenial(error: unknown): boolean {
  return error instanceof KafkaFailure && denials.has(error.kafkaCode);
}

/** An error of Kafka by its number, as its documentation names it. */
export function errorName(code: number): string {
  return `${protocolErrorsCodesById[code] ?? 'error'} (${code})`;
}

/** @throws {KafkaFailure} unless the code is 0. */
export function expectNone(code: number, what: string): void {
  if (code !== 0) throw new KafkaFailure(`${what}: ${errorName(code)}`, code);
}

/** Makes a failure of whatever was thrown: with the innermost causes, which say why, and without a password. */
export function kafkaFailure(where: string, error: unknown, password: string | undefined): KafkaFailure {
  if (error instanceof KafkaFailure) return error;
  const message = [...new Set(messagesOf(error))].join(' ');
  return new KafkaFailure(`${where}: ${withoutSecret(message, password)}`.slice(0, 500), codeOf(error));
}

function* messagesOf(error: unknown): Generator<string> {
  if (!(error instanceof Error)) {
    yield String(error);
    return;
  }
  yield error.message || error.name;
  const [first] = error instanceof AggregateError ? (error.errors as unknown[]) : [];
  const cause = first ?? error.cause;
  if (cause !== undefined) yield* messagesOf(cause);
}

function codeOf(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  // A login that failed without a number, as with a mechanism that no broker has.
  if (error instanceof AuthenticationError) return 58;
  const [first] = error instanceof AggregateError ? (error.errors as unknown[]) : [];
  if (first instanceof ProtocolError) return Number(Reflect.get(first, 'apiCode'));
  return codeOf(error.cause);
}
