export {
  type AudioEncoding,
  type AudioFormat,
  bytesOfMs,
  bytesPerSample,
  checkAudioFormat,
  msOfBytes,
  silence,
  telephoneAudio,
} from './audio-format.ts';
export { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from './g711.ts';
export { levelOf, linearSamples } from './level.ts';
export { type Ear, type Interruption, Playout, type PlayoutOptions } from './playout.ts';
export { type HeardPart, PlayoutLedger, type ReturnedMark, type SpokenPart } from './playout-ledger.ts';
export { MediaTimeline, type PlacedAudio } from './media-timeline.ts';
export { Resampler } from './resampler.ts';
export { type SpeechChange, SpeechDetector, type SpeechDetectorOptions } from './speech-detector.ts';
export { type AudioGap, SpeechQueue, type SpeechQueueOptions, type TimedAudio } from './speech-queue.ts';
