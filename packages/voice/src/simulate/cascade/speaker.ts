export type { AskedSpeech, SimulatedSpeakerFaults, SimulatedSpeakerOptions } from './speaker-options.ts';
export {
  createSimulatedSpeakerDoor,
  serveSimulatedSpeakers,
  type SimulatedSpeakerDoor,
  type SimulatedSpeakerServer,
  type SimulatedSpeakerServerOptions,
} from './speaker-server.ts';
