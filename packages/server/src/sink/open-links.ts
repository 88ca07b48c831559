import { type Links, takenBytes } from './link.ts';
import { openProcLinks } from './proc-links.ts';
import { openTcpInfoLinks } from './tcp-info-links.ts';

/**
 * The best source that this machine has: what TCP says of a connection (Linux with the optional dependency
 * koffi), a list of all connections (Linux), or only what the kernel took, which is megabytes before a slow
 * link is noticed.
 */
export function openLinks(): Links {
  return openTcpInfoLinks() ?? openProcLinks() ?? writesOnly;
}

/** What the kernel took counts as arrived. */
const writesOnly: Links = {
  name: 'writes',
  readQueues: () => Promise.resolve(undefined),
  watch: (socket) => () => ({ atMs: performance.now(), ackedBytes: takenBytes(socket), minRttMs: 0 }),
};
