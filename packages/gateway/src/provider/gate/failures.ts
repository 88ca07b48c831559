import type { GatewayError, GatewayErrorCode } from '@spillway/server/errors';
import { ReportedError } from '../../source/reported-error.ts';
import { LimitError } from '@spillway/server/limit/limit-error';

/** What says that a provider is not well. Its own status does, too. */
const codes: ReadonlySet<GatewayErrorCode> = new Set([
  'proxy_refused',
  'proxy_unreachable',
  'upstream_cut',
  'upstream_idle',
  'upstream_redirect',
  'upstream_timeout',
  'upstream_unreachable',
  'upstream_untrusted',
]);

/** Whether a provider failed: it could not be reached, did not answer in time, answered with 5xx, sent elsewhere, or reported a fault of its own. */
export function isFailure(error: GatewayError): boolean {
  const { code, status } = error;
  if (error instanceof ReportedError) return error.isProvidersFault;
  return codes.has(code) || (code === 'upstream_invalid' && status >= 500);
}

/** Whether an answer with this status is one that another provider may do better. */
export function isBusyStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** Whether another provider may do better, where nothing was sent to the client yet. */
export function mayDoBetter(error: GatewayError): boolean {
  const { code, status } = error;
  // A target was expected too late, or has used its share of the time. Where all of that is over, the stream itself is cut.
  if (error instanceof LimitError && error.reached.name === 'budgetMs') return true;
  if (code === 'overloaded' || code === 'provider_unavailable' || code === 'upstream_reported') return true;
  return isFailure(error) || (code === 'upstream_invalid' && isBusyStatus(status));
}
