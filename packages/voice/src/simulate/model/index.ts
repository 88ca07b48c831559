export type {
  EndedResponse,
  HeardTurn,
  RefusedEvent,
  SimulatedModelTruth,
  Truncation,
} from './model-truth.ts';
export type { GeminiSetup } from './gemini-client-message.ts';
export type { GeminiAnswer, SimulatedGeminiTruth } from './gemini-truth.ts';
export { openSimulatedGemini, type SimulatedGemini } from './simulated-gemini.ts';
export type { SimulatedGeminiFaults, SimulatedGeminiOptions } from './simulated-gemini-options.ts';
export type { SessionSettings } from './session-settings.ts';
export { openSimulatedModel, type SimulatedModel } from './simulated-model.ts';
export type {
  SimulatedModelFaults,
  SimulatedModelOptions,
  SimulatedTurn,
} from './simulated-model-options.ts';
export {
  createSimulatedModelDoor,
  serveSimulatedModels,
  type SimulatedModelDoor,
  type SimulatedModelServer,
  type SimulatedModelServerOptions,
} from './simulated-model-server.ts';
