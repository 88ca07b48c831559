export type { SinkEngine } from './sink-engine.ts';
export { type SinkRule, sinkRules, type SinkRulesOptions, type SkippableTest } from './sink-rules.ts';
export { type StoreRule, storeRules } from './store-rules.ts';
