export {
  type AnswerFigures,
  type CallEnd,
  type CallRecord,
  type CallRecordFigures,
  type CarrierRefusal,
  type ClearedAudio,
  figuresOf,
  type InterruptionFigures,
  type PlayedAudio,
  type ReturnedMark,
  type SaidAudio,
} from './call-record.ts';
export {
  type CallScript,
  type CallScriptErrorCode,
  type CallScriptStep,
  readCallScript,
} from './call-script.ts';
export type { LinkFaults } from './link.ts';
export { placeCall, type PlaceCallErrorCode, type PlaceCallOptions } from './place-call.ts';
export {
  type CallOutcome,
  type CallReport,
  runCallScript,
  type RunCallScriptOptions,
} from './run-call-script.ts';
export type { SimulatedCall } from './simulated-call.ts';
export { readWav, type WavErrorCode } from './wav.ts';
