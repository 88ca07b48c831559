import { telephoneAudio } from '@spillway/core/audio';
import { fliteMissing } from '@spillway/voice';
import { type SpeakerEngine, speakerRules } from '@spillway/voice/testing/speaker-rules';
import { describe, test } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import { elevenLabsEngine, fliteEngine, linear, openAiEngine } from '../support/speaker-engines.ts';

const missing = await fliteMissing();

const speakers: readonly [
  name: string,
  openEngine: () => Promise<SpeakerEngine> | SpeakerEngine,
  missing?: string | undefined,
][] = [
  ['OpenAI’s speech', openAiEngine],
  ['ElevenLabs, 24,000 Hz', () => elevenLabsEngine(linear)],
  ['ElevenLabs, as a telephone', () => elevenLabsEngine(telephoneAudio)],
  ['Flite', fliteEngine, missing],
];

for (const [name, openEngine, lacks] of speakers)
  // They mostly wait.
  describe.concurrent(`a speaker: ${name}`, () => {
    for (const { check, name: rule, number } of speakerRules(openEngine))
      test(`rule ${number}: ${rule}`, async (context) => {
        needs(context, lacks === undefined, lacks ?? '');
        await check(context);
      });
  });
