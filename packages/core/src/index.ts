export type { Channel, ChannelEnd, OfferResult } from './channel/channel.ts';
export { openChannel } from './channel/open-channel.ts';
export type { TakeLimits } from './channel/bounds.ts';
export type { ChannelOptions, ReplayWindow } from './channel/channel-options.ts';
export type { ChunkAddresses, ChunkMemory } from './channel/chunk-memory.ts';
export { Gap } from './channel/gap.ts';
export { createGate, type Gate } from './channel/gate.ts';
export { createMemoryStore, type MemoryStoreOptions } from './channel/memory-store.ts';
export type {
  BudgetClaim,
  BudgetQuota,
  BudgetWindow,
  LeaseRequest,
  LimitAnswer,
  LimitGrant,
  LimitRefusal,
  LimitStore,
  PlacesQuota,
  Quota,
  QuotaState,
  RateQuota,
} from './limit/limit-store.ts';
export type { Merge, MergedChunk } from './merge.ts';
export type { LosslessOverflow, LossyOverflow, Overflow } from './channel/overflow.ts';
export type { LosslessReaderOptions, Pressure, Reader, ReaderEnd, ReaderOptions } from './channel/reader.ts';
export { spillTo } from './channel/spill.ts';
export type { SpillPolicy } from './channel/spill-policy.ts';
export type { Store, StoredChunk } from './channel/store.ts';
export { type Credit, openCredit } from './credit/credit.ts';
export type { CreditAmount, CreditOptions } from './credit/credit-options.ts';
export { createReplenisher, type Replenisher, type ReplenisherOptions } from './credit/replenisher.ts';
export { type ErrorCode, SpillwayError } from './errors.ts';
export { createTransformStream, pipe, type PipeEnd, type PipeOptions } from './pipe.ts';
export type { SinkRecord } from './sink-record.ts';
export type { Durability, RecordSink } from './sink/record-sink.ts';
export { toReadableStream } from './sink/readable-stream.ts';
export { type ChunkSink, type NodeWritable, type Sink, toNodeWritable } from './sink/sink.ts';
export type { Source } from './source/source.ts';
export { toWritableStream } from './source/writable-stream.ts';
