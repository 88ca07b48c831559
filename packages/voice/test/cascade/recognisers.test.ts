import { telephoneAudio } from '@spillway/core/audio';
import { pocketsphinxMissing } from '@spillway/voice';
import { type RecogniserEngine, recogniserRules } from '@spillway/voice/testing/recogniser-rules';
import { describe, test } from 'vitest';
import { needs } from '../../../core/test/support/needs.ts';
import {
  deepgramEngine,
  pocketsphinxEngine,
  transcriptionEngine,
  wideband,
} from '../support/recogniser-engines.ts';

const missing = await pocketsphinxMissing();

const recognisers: readonly [
  name: string,
  openEngine: () => Promise<RecogniserEngine> | RecogniserEngine,
  missing?: string | undefined,
][] = [
  ['OpenAI’s transcriptions', () => transcriptionEngine(true)],
  ['OpenAI’s transcriptions, whole', () => transcriptionEngine(false)],
  ['Deepgram, as a telephone', () => deepgramEngine(telephoneAudio)],
  ['Deepgram, wideband', () => deepgramEngine(wideband)],
  ['PocketSphinx', pocketsphinxEngine, missing],
];

for (const [name, openEngine, lacks] of recognisers)
  // They mostly wait.
  describe.concurrent(`a recogniser: ${name}`, () => {
    for (const { check, name: rule, number } of recogniserRules(openEngine))
      test(`rule ${number}: ${rule}`, async (context) => {
        needs(context, lacks === undefined, lacks ?? '');
        await check(context);
      });
  });
