export { type Call, openCall } from './call/call.ts';
export type { CallFigures } from './call/call-figures.ts';
export type { CallEndReason, CallEvent } from './call/call-event.ts';
export type { CallOptions, ModelFailure } from './call/call-options.ts';
export type { Utterance } from './call/conversation.ts';
export type { CarrierCall, CarrierEvent, CarrierLeg } from './carrier/carrier-leg.ts';
export type { ModelEvent, ModelLeg, ModelUsage, ResponseState } from './model/model-leg.ts';
export type { CarrierErrorCode } from './carrier/carrier-error.ts';
export { type CarrierOptions, carrierSocketOptions } from './carrier/socket-leg.ts';
export { acceptTelnyx } from './carrier/telnyx.ts';
export { acceptTwilio } from './carrier/twilio.ts';
export { openDeepgramListen } from './cascade/recognise/deepgram-listen.ts';
export type { DeepgramListenOptions } from './cascade/recognise/deepgram-options.ts';
export { openOpenAiTranscription } from './cascade/recognise/openai-transcription.ts';
export { openPocketsphinx, type PocketsphinxOptions } from './cascade/recognise/pocketsphinx.ts';
export { pocketsphinxMissing } from './cascade/recognise/pocketsphinx-program.ts';
export type {
  OpenAiTranscriptionOptions,
  TranscriptionUsage,
} from './cascade/recognise/transcription-options.ts';
export { SingleUseTokens, type SingleUseTokensOptions } from './telephony/single-use-tokens.ts';
export { isTwilioSignature, type SignedRequest, twilioSignature } from './telephony/twilio-signature.ts';
export { streamTwiml, type StreamTwiml, type TwimlVerb, verbsTwiml } from './telephony/twiml.ts';
export type { ModelTool } from './model/model-tool.ts';
export { openGeminiLive } from './model/gemini-live.ts';
export type { GeminiLiveOptions } from './model/gemini-live-options.ts';
export { openOpenAiRealtime } from './model/openai-realtime.ts';
export type { OpenAiRealtimeOptions } from './model/openai-realtime-options.ts';
export { resampledModel } from './model/resampled-model.ts';
export type { CallTool, ToolRun } from './tools/call-tool.ts';
export type { EndedToolRun, ToolOutcome } from './tools/tool-runs.ts';
export { webhookTool, type WebhookToolOptions } from './tools/webhook-tool.ts';
export { openCascade } from './cascade/cascade.ts';
export type { CascadeOptions } from './cascade/cascade-options.ts';
export type { AskedTool, Reasoner, ReasonEvent, ReasonMessage } from './cascade/reasoner.ts';
export type { Speaker, SpokenEvent } from './cascade/speaker.ts';
export type { SpokenWord } from './call/heard-text.ts';
export type { StageFigures, StageName } from './cascade/stage-figures.ts';
export { openOpenAiChat, type OpenAiChatOptions } from './cascade/reason/openai-chat.ts';
