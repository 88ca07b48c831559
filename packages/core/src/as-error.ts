/** Returns a thrown value as an error: an error as it is, any other value as the `cause` of one. */
export function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason), { cause: reason });
}
