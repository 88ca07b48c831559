export { type Call, type CallFigures, openCall } from './call/call.ts';
export type { CallEndReason, CallEvent } from './call/call-event.ts';
export type { CallOptions } from './call/call-options.ts';
export type { CarrierCall, CarrierEvent, CarrierLeg } from './carrier/carrier-leg.ts';
export type { ModelEvent, ModelLeg, ModelUsage, ResponseState } from './model/model-leg.ts';
export type { ModelTool } from './model/model-tool.ts';
export { openOpenAiRealtime } from './model/openai-realtime.ts';
export type { OpenAiRealtimeOptions } from './model/openai-realtime-options.ts';
