export { type NatsSinkOptions, openNatsSink } from './sink/nats-sink.ts';
