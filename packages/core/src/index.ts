export {
  type Channel,
  type ChannelEnd,
  type ChannelOptions,
  type OfferResult,
  openChannel,
} from './channel/channel.ts';
export { Gap } from './channel/gap.ts';
export type { Overflow, Reader, ReaderEnd, ReaderOptions } from './channel/reader.ts';
export { type ErrorCode, SpillwayError } from './errors.ts';
