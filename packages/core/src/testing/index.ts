export type { LimitEngine } from './limit-engine.ts';
export { type LimitRule, limitRules, type LimitRulesOptions } from './limit-rules.ts';
export type { SinkEngine } from './sink-engine.ts';
export { type SinkRule, sinkRules, type SinkRulesOptions } from './sink-rules.ts';
export type { SkippableTest } from './skippable-test.ts';
export type { SourceEngine } from './source-engine.ts';
export { type SourceRule, sourceRules, type SourceRulesOptions } from './source-rules.ts';
export { type StoreRule, storeRules } from './store-rules.ts';
