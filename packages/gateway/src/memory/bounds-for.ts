import type { Logger } from 'pino';
import {
  connectionBounds,
  type ConnectionBounds,
  descriptorShortage,
  type Listening,
  readDescriptors,
} from './descriptors.ts';

/**
 * The bounds that the file descriptors of this process allow, with a warning if they are less than
 * configured.
 */
export function boundsFor(
  config: Listening,
  isSimulated: boolean,
  log: Pick<Logger, 'warn'>,
): ConnectionBounds {
  const descriptors = readDescriptors();
  // A simulated provider has its end of each connection in this process, too.
  const costOfStream = isSimulated ? 2 : 1;
  const bounds = connectionBounds(config, descriptors, costOfStream);
  if (descriptors === undefined) return bounds;
  const shortage = descriptorShortage(config, descriptors, costOfStream);
  if (shortage === undefined) return bounds;
  const { message, needed } = shortage;
  log.warn({ limit: descriptors.limit, needed, ...bounds }, message);
  return bounds;
}
