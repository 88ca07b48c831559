export { type Call, type CallFigures, openCall } from './call/call.ts';
export type { CallEndReason, CallEvent } from './call/call-event.ts';
export type { CallOptions } from './call/call-options.ts';
export type { CarrierCall, CarrierEvent, CarrierLeg } from './carrier/carrier-leg.ts';
export type { ModelEvent, ModelLeg, ModelUsage, ResponseState } from './model/model-leg.ts';
