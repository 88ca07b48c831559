import { needsClientKey, type Settings } from '../config/load.ts';
import { offlineCascade } from '../config/read-cascade.ts';
import { unconfiguredVoice, type VoiceSettings } from '../config/read-voice.ts';
import type { SimulatedModels, Voice, VoiceOptions } from './voice.ts';

export type { CallsText } from './voice.ts';

/** What is known of calls before anything is opened. */
interface PreparedVoice {
  /** `undefined`: no calls are served. */
  readonly settings: VoiceSettings | undefined;
  /** What calls that are not configured lack for a spoken conversation, in words; `undefined`: nothing. */
  readonly missing: string | undefined;
}

interface OpenVoiceOptions
  extends Omit<VoiceOptions, 'missing' | 'ownSimulator' | 'settings'>, PreparedVoice {
  readonly openSimulator: () => Promise<SimulatedModels>;
}

/**
 * Finds out who answers calls, and a tool or a filler that cannot be used, before anything is opened. Without a configuration those of
 * this machine are answered where the models are simulated and nobody needs a key: then the gateway listens on loopback alone.
 *
 * @throws {ConfigError}
 */
export async function prepareVoice(
  asked: Pick<Settings, 'apiKeys' | 'keyStore' | 'providers' | 'voice'>,
): Promise<PreparedVoice> {
  const isOpenToDoubles = asked.providers.length === 0 && !needsClientKey(asked);
  if (asked.voice === undefined && !isOpenToDoubles) return { settings: undefined, missing: undefined };
  // Loaded only here: who serves no calls does not need it.
  await import('./voice.ts');
  if (asked.voice === undefined) {
    const missing = await missingPrograms();
    return { settings: unconfiguredVoice(missing === undefined ? offlineCascade : undefined), missing };
  }
  const { openFiller, openTools } = await import('./voice-tools.ts');
  openTools(asked.voice.tools);
  openFiller(asked.voice);
  return { settings: asked.voice, missing: undefined };
}

/** Opens telephone calls, and a simulated model for them if there is none yet; `undefined`: they are not served. */
export async function openVoice({
  openSimulator,
  settings,
  ...options
}: OpenVoiceOptions): Promise<Voice | undefined> {
  if (settings === undefined) return undefined;
  const { Voice: Opened } = await import('./voice.ts');
  const needsSimulator = settings.model === undefined && options.simulatorUrl === undefined;
  const ownSimulator = needsSimulator ? await openSimulator() : undefined;
  return new Opened({ ...options, settings, ownSimulator });
}

/** What this machine lacks for a conversation without any service, in words; `undefined`: nothing. */
async function missingPrograms(): Promise<string | undefined> {
  const { fliteMissing, pocketsphinxMissing } = await import('@spillway/voice');
  // Whether one of them is there takes a process of its own to find out.
  return (await fliteMissing()) ?? (await pocketsphinxMissing());
}
