import { nodeClock } from '@spillway/server/time/node-clock';
import type { ModelEvent, ModelLeg } from '@spillway/voice';
import { ConfigError } from '../../config/config-error.ts';
import type { Settings } from '../../config/load.ts';
import { isThisMachine } from '../../config/loopback.ts';
import type { SignedLine, VoiceSettings } from '../../config/read-voice.ts';
import { voicePath } from '../../voice/voice-path.ts';
import { checkCascade } from './cascade.ts';
import type { Finding } from './finding.ts';

/** How long a model may take until it knows its instructions. */
const checkTimeoutMs = 10_000;
/** How Twilio's auth tokens look. */
const tokenForm = /^[0-9a-f]{32}$/;

/** Whether calls could be answered: by a session of the model, in which nothing is generated. */
export async function checkVoice({ voice }: Settings): Promise<Finding[]> {
  if (voice === undefined) return [];
  const line =
    voice.line === undefined
      ? [
          {
            check: 'voice line',
            status: 'ok' as const,
            message: 'Calls are unsigned, of this machine alone.',
          },
        ]
      : checkLine(voice.line);
  return [...(await checkModel(voice)), ...line];
}

async function checkModel(settings: VoiceSettings): Promise<Finding[]> {
  const { model } = settings;
  const check = `voice model ${titleOf(model)}`;
  const { openFiller, openTools } = await import('../../voice/voice-tools.ts');
  try {
    const tools = openTools(settings.tools);
    openFiller(settings);
    if (model === undefined) return [{ check, status: 'ok', message: 'It needs nothing.' }];
    if (model.api === 'cascade') return await checkCascade(model, settings);
    // Sockets are loaded only where they are needed.
    const { openModel } = await import('../../voice/open-model.ts');
    const leg = openModel({ settings, tools, past: [], simulatorUrl: undefined, fetch, clock: nodeClock });
    return [{ check, ...(await judged(leg)) }];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [{ check, status: 'fail', message: `${error.message}.` }];
  }
}

function titleOf(model: VoiceSettings['model']): string {
  if (model === undefined) return 'simulated';
  return model.api === 'cascade' ? model.reason : `${model.provider.name}/${model.name}`;
}

/** What a session says: that it is ready, or why it is not. */
async function judged(leg: ModelLeg): Promise<Omit<Finding, 'check'>> {
  const { promise, resolve } = Promise.withResolvers<ModelEvent | undefined>();
  const timer = setTimeout(() => resolve(undefined), checkTimeoutMs);
  leg.listen((event) => {
    if (event.kind === 'ready' || event.kind === 'ended') resolve(event);
  });
  const event = await promise;
  clearTimeout(timer);
  leg.close();
  if (event?.kind === 'ready')
    return { status: 'ok', message: 'It takes the key, the instructions and the tools.' };
  const why =
    event?.kind === 'ended' ? `${event.message} (${event.code})` : `Not ready in ${checkTimeoutMs} ms.`;
  return { status: 'fail', message: `No session with it: ${why}` };
}

function checkLine({ authToken, publicUrl }: SignedLine): Finding[] {
  const url: Finding = isThisMachine(new URL(publicUrl).hostname)
    ? {
        check: 'voice line',
        status: 'warn',
        message: `${publicUrl} is this machine, which no carrier reaches: set publicUrl to an https:// URL.`,
      }
    : {
        check: 'voice line',
        status: 'ok',
        message: `The number's webhook is ${publicUrl}${voicePath}, by HTTP POST.`,
      };
  const token: Finding = tokenForm.test(authToken)
    ? { check: 'voice token', status: 'ok', message: 'It looks like an auth token of Twilio.' }
    : {
        check: 'voice token',
        status: 'warn',
        message:
          'It is not 32 digits of base 16, as auth tokens of Twilio are: is it the secret of an API key, with which nothing is signed?',
      };
  return [url, token];
}
