import { nodeClock } from '@spillway/server/time/node-clock';
import type { Recogniser, RecogniserEvent, Speaker } from '@spillway/voice';
import type { Cascade } from '../../config/read-cascade.ts';
import type { VoiceSettings } from '../../config/read-voice.ts';
import type { Finding } from './finding.ts';

/** How long a stage may take. */
const checkTimeoutMs = 10_000;
/** What is spoken, and heard again. */
const word = 'One.';

/**
 * Whether the stages of a cascade work: the speaker says a word, and the recogniser is opened. A recogniser of this machine hears
 * that word; of a service it is not asked for, because that costs money. The model of text is one of the gateway's own, which
 * has checks of its own.
 */
export async function checkCascade(
  cascade: Cascade,
  settings: Pick<VoiceSettings, 'language' | 'voice'>,
): Promise<Finding[]> {
  // Sockets and programs are loaded only where they are needed.
  const { openRecogniser, openSpeaker } = await import('../../voice/open-cascade-leg.ts');
  const speaker = openSpeaker(cascade.speak, settings);
  const spoken = await says(speaker);
  speaker.close();
  const recogniser = openRecogniser(cascade.recognise, settings);
  const isSame = JSON.stringify(recogniser.input) === JSON.stringify(speaker.output);
  const hears = cascade.recognise.kind === 'pocketsphinx' && isSame ? spoken.audio : undefined;
  const heard = await hearsIn(recogniser, hears);
  recogniser.close();
  return [
    { check: `voice recogniser ${cascade.recognise.title}`, ...heard },
    {
      check: `voice reasoner ${cascade.reason}`,
      status: 'ok',
      message: 'It is asked through this gateway, as by its clients.',
    },
    { check: `voice speaker ${cascade.speak.title}`, ...spoken.finding },
  ];
}

type Found = Omit<Finding, 'check'>;

async function says(
  speaker: Speaker,
): Promise<{ readonly audio: Uint8Array | undefined; readonly finding: Found }> {
  const pieces: Uint8Array[] = [];
  try {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    for await (const event of speaker.speak(word, { signal }))
      if (event.kind === 'audio') pieces.push(event.audio);
  } catch (error) {
    return { audio: undefined, finding: failed(error) };
  }
  const audio = Buffer.concat(pieces);
  if (audio.length === 0) return { audio: undefined, finding: failed('no sound came') };
  return { audio, finding: { status: 'ok', message: 'It says a word.' } };
}

async function hearsIn(recogniser: Recogniser, audio: Uint8Array | undefined): Promise<Found> {
  const { promise, resolve } = Promise.withResolvers<RecogniserEvent | undefined>();
  const timer = nodeClock.after(checkTimeoutMs, () => resolve(undefined));
  recogniser.listen((event) => {
    if (event.kind === 'ready' && audio !== undefined) {
      recogniser.send(audio);
      recogniser.finish();
    } else if (['ready', 'final', 'ended'].includes(event.kind)) resolve(event);
  });
  const event = await promise;
  timer.stop();
  if (event === undefined) return failed(`nothing came of it in ${checkTimeoutMs} ms`);
  if (event.kind === 'ended') return failed(`${event.message} (${event.code})`);
  if (event.kind !== 'final') return { status: 'ok', message: 'It takes audio.' };
  if (event.text.trim() !== '') return { status: 'ok', message: 'It hears a word that is spoken.' };
  return { status: 'warn', message: 'It takes audio, and did not hear the word that was spoken.' };
}

function failed(error: unknown): Found {
  const why = error instanceof Error ? error.message : String(error);
  return { status: 'fail', message: `It does not work: ${why.replace(/\.$/, '')}.` };
}
