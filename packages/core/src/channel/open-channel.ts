import { BoundedChannel } from './bounded-channel.ts';
import { type ChannelOptions, checkedBounds, checkOptions, unbounded } from './channel-options.ts';
import type { Channel } from './channel.ts';

/**
 * Opens a channel.
 *
 * Chunks that no reader has taken wait in the channel, also before the first reader comes. Without a replay window,
 * they also wait after the last reader has left. The channel's own bound then applies, and an offer beyond it is
 * `full`.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const channel = openChannel<string>({ maxItems: 100 });
 * const screen = channel.reader();
 * const meter = channel.reader({ overflow: 'drop-oldest', maxItems: 10 });
 * for (const word of words) await channel.write(word);
 * channel.complete();
 * ```
 */
export function openChannel<T>(options: ChannelOptions<T>): Channel<T> {
  checkOptions(options);
  return new BoundedChannel(options, checkedBounds(options, unbounded));
}
