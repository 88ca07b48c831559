import type { RefusedRecord } from '@spillway/core/engine';

/**
 * Whether an error of a sink has that code. An engine's package may have a copy of `@spillway/core` of its own, as when it is
 * installed elsewhere than the gateway: its errors are of another class with the same name.
 */
export function hasCode(error: unknown, code: string): error is Error & { readonly code: string } {
  return error instanceof Error && error.name === 'SpillwayError' && 'code' in error && error.code === code;
}

/** The records that an engine will never take, if the error says so. */
export function refusedIn(error: unknown): readonly RefusedRecord[] | undefined {
  if (!hasCode(error, 'records_refused') || !('refused' in error) || !Array.isArray(error.refused))
    return undefined;
  return error.refused as RefusedRecord[];
}
