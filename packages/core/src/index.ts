export { type Channel, type ChannelEnd, type OfferResult, openChannel } from './channel/channel.ts';
export type { ChannelOptions, ReplayWindow } from './channel/channel-options.ts';
export type { ChunkAddresses, ChunkMemory } from './channel/chunk-memory.ts';
export { Gap } from './channel/gap.ts';
export { createMemoryStore, type MemoryStoreOptions } from './channel/memory-store.ts';
export type { Merge, MergedChunk } from './merge.ts';
export type { LosslessOverflow, LossyOverflow, Overflow } from './channel/overflow.ts';
export type {
  LosslessReaderOptions,
  Pressure,
  Reader,
  ReaderEnd,
  ReaderOptions,
  TakeLimits,
} from './channel/reader.ts';
export { type SpillPolicy, spillTo } from './channel/spill.ts';
export type { Store, StoredChunk } from './channel/store.ts';
export { type Credit, type CreditAmount, type CreditOptions, openCredit } from './credit/credit.ts';
export { createReplenisher, type Replenisher, type ReplenisherOptions } from './credit/replenisher.ts';
export { type ErrorCode, SpillwayError } from './errors.ts';
export { createTransformStream, pipe, type PipeEnd, type PipeOptions } from './pipe.ts';
export { toReadableStream } from './sink/readable-stream.ts';
export { type ChunkSink, type NodeWritable, type Sink, toNodeWritable } from './sink/sink.ts';
export type { Source } from './source/source.ts';
export { toWritableStream } from './source/writable-stream.ts';
