export { openPostgresSink, type PostgresSinkOptions } from './sink/postgres-sink.ts';
