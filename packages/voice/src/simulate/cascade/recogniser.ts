export type {
  RecognisedSpeech,
  SimulatedRecogniserFaults,
  SimulatedRecogniserOptions,
} from './recogniser-options.ts';
export {
  createSimulatedRecogniserDoor,
  serveSimulatedRecognisers,
  type SimulatedRecogniserDoor,
  type SimulatedRecogniserServer,
  type SimulatedRecogniserServerOptions,
} from './recogniser-server.ts';
