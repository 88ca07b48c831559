import { type Links, takenBytes } from './link.ts';
import { openProcLinks } from './proc-links.ts';
import { openTcpInfoLinks } from './tcp-info-links.ts';

/**
 * Opens the best source that this machine has. First choice: what TCP says of one connection (Linux with the optional
 * dependency koffi). Second: a list of all connections (Linux). Last: the bytes that the kernel took, which shows a
 * slow link only after megabytes.
 */
export function openLinks(): Links {
  return openTcpInfoLinks() ?? openProcLinks() ?? writesOnly;
}

/** Counts all bytes that the kernel took as arrived. */
const writesOnly: Links = {
  name: 'writes',
  readQueues: () => Promise.resolve(undefined),
  watch: (socket) => () => ({ atMs: performance.now(), ackedBytes: takenBytes(socket), minRttMs: 0 }),
};
