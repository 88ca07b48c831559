/** Loaded into a process with `--import`: its Node does not tell of the streams that a client of HTTP/2 opens, as 24.0 does not. */
import { channel } from 'node:diagnostics_channel';

const opened = channel('http2.client.stream.created');
// With the first subscriber it becomes one that has its own `publish`.
Object.defineProperty(opened, 'publish', { value: () => undefined });
