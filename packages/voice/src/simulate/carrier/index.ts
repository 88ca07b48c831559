export {
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
export type { LinkFaults } from './link.ts';
export { placeCall, type PlaceCallErrorCode, type PlaceCallOptions } from './place-call.ts';
export type { SimulatedCall } from './simulated-call.ts';
