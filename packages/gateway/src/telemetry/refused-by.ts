import type { Totals } from '@spillway/server/console/snapshot';
import type { RequestMemory } from '@spillway/server/memory/request-memory';
import type { Connections } from '../http/connections.ts';
import type { Refusals } from './refusals.ts';

/** What clients were refused. Idle connections of known clients that make room are none of them. */
export function refusedBy(
  { closed }: Pick<Connections, 'closed'>,
  { refusals }: Pick<RequestMemory, 'refusals'>,
  { counts }: Pick<Refusals, 'counts'>,
): Totals['refused'] {
  const { address_bound, refused, stranger_displaced, transfer_displaced } = closed;
  const wrong_key = counts.client.invalid_api_key + counts.admin.invalid_api_key;
  const request_memory = refusals;
  return { address_bound, refused, request_memory, stranger_displaced, transfer_displaced, wrong_key };
}
