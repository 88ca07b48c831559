export { type NatsSinkOptions, openNatsSink } from './sink/nats-sink.ts';
export { type NatsEntry, type NatsSourceOptions, openNatsSource } from './source/nats-source.ts';
