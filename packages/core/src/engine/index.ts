export type { EngineFacts, EngineSink, EngineSinkOptions, GroupLag } from './engine-sink.ts';
export { type EngineHost, EngineUrlReader, shownHost } from './engine-url.ts';
export { GradeAge } from './grade-age.ts';
export {
  type JoinedPart,
  type LostParts,
  maxParts,
  RecordJoiner,
  type RecordJoinerOptions,
  type RecordPart,
  splitProblem,
  splitRecord,
} from './record-parts.ts';
export { type RefusedRecord, RefusedRecords } from './refused-records.ts';
export { SinkDenied } from './sink-denied.ts';
export { withoutSecret } from './without-secret.ts';
