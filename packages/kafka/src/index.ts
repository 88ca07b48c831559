export { openKafkaSink, type KafkaSinkOptions } from './sink/open-kafka-sink.ts';
export { type KafkaEntry, openKafkaSource, type KafkaSourceOptions } from './source/open-kafka-source.ts';
