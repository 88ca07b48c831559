export { type ReadS3Options, readS3Records, type S3Record } from './s3/read-s3-records.ts';
export { openS3Sink, type S3SinkOptions } from './s3/s3-sink.ts';
export { openSqsSink } from './sqs/sqs-sink.ts';
export { openSqsSource, type SqsMessage, type SqsSourceOptions } from './sqs/sqs-source.ts';
