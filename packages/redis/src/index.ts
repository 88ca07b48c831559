export { readRedisFacts, type RedisFacts } from './connection/redis-facts.ts';
export { openRedisLimits, type RedisLimits, type RedisLimitsOptions } from './limit/redis-limits.ts';
export { openRedisSink, type RedisSinkOptions } from './stream/redis-sink.ts';
export { openRedisSource, type RedisSourceOptions } from './stream/redis-source.ts';
export type { RedisEntry } from './stream/stream-entry.ts';
export { openRedisText, type KeptText, type RedisText, type RedisTextOptions } from './text/redis-text.ts';
