import type { Links } from '@spillway/server/sink/link';
import { Paces } from '@spillway/server/sink/paces';
import type { Logger } from 'pino';

/** Opens the paces of all connections, and warns where the system says little of its links. */
export function openPaces(links: Links, log: Pick<Logger, 'warn'>): Paces {
  const paces = new Paces(links);
  if (paces.links !== 'tcp-info') {
    log.warn(
      { links: paces.links },
      'slow links are noticed late: TCP_INFO needs Linux and the package koffi',
    );
  }
  return paces;
}
