export { openKafkaSink, type KafkaSinkOptions } from './sink/open-kafka-sink.ts';
