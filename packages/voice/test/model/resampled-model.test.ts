import { expect, test } from 'vitest';
import { type ModelLeg, resampledModel } from '../../src/index.ts';
import { ScriptedModel } from '../support/scripted-legs.ts';

const format = { encoding: 'pcm16', sampleRateHz: 16_000 } as const;

test('a model in another format goes by the ear if the model does, and shows its stages', () => {
  const unheard: number[] = [];
  const stages: NonNullable<ModelLeg['stages']> = [];
  const leg = Object.assign(new ScriptedModel([]), { stages, unheard: (ms: number) => unheard.push(ms) });
  const resampled = resampledModel(leg, format);
  resampled.unheard?.(120);
  expect(unheard).toEqual([120]);
  expect(resampled.stages).toBe(stages);
});

test('a model in another format that does not go by the ear is not asked to', () => {
  const resampled = resampledModel(new ScriptedModel([]), format);
  expect(typeof resampled.unheard).toBe('undefined');
  expect(resampled.stages).toBe(undefined);
});
