export type {
  EndedResponse,
  HeardTurn,
  RefusedEvent,
  SimulatedModelTruth,
  Truncation,
} from './model-truth.ts';
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
