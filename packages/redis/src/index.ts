export { openRedisLimits, type RedisLimits, type RedisLimitsOptions } from './limit/redis-limits.ts';
