import { offlineCascade } from '../config/read-cascade.ts';
import { unconfiguredVoice, type VoiceSettings } from '../config/read-voice.ts';
import type { SimulatedModels, Voice, VoiceOptions } from './voice.ts';

export type { CallsText } from './voice.ts';

interface OpenVoiceOptions extends Omit<VoiceOptions, 'missing' | 'ownSimulator' | 'settings'> {
  /** `undefined`: no calls are configured. */
  readonly configured: VoiceSettings | undefined;
  /** Whether those of this machine are answered then, by the simulated model. */
  readonly isOpenToDoubles: boolean;
  readonly openSimulator: () => Promise<SimulatedModels>;
}

/**
 * Opens telephone calls, and a simulated model for them if there is none yet; `undefined`: they are not served. Their code is
 * loaded only if they are.
 */
export async function openVoice({
  configured,
  isOpenToDoubles,
  openSimulator,
  ...options
}: OpenVoiceOptions): Promise<Voice | undefined> {
  if (configured === undefined && !isOpenToDoubles) return undefined;
  const { Voice: Opened } = await import('./voice.ts');
  const missing = configured === undefined ? await missingPrograms() : undefined;
  const settings = configured ?? unconfiguredVoice(missing === undefined ? offlineCascade : undefined);
  const needsSimulator = settings.model === undefined && options.simulatorUrl === undefined;
  const ownSimulator = needsSimulator ? await openSimulator() : undefined;
  return new Opened({ ...options, settings, ownSimulator, missing });
}

/** What this machine lacks for a conversation without any service, in words; `undefined`: nothing. */
async function missingPrograms(): Promise<string | undefined> {
  const { fliteMissing, pocketsphinxMissing } = await import('@spillway/voice');
  // Whether one of them is there takes a process of its own to find out.
  return (await fliteMissing()) ?? (await pocketsphinxMissing());
}

/**
 * Finds a tool or a filler that cannot be used before anything is opened.
 *
 * @throws {ConfigError}
 */
export async function checkTools(configured: VoiceSettings | undefined): Promise<void> {
  if (configured === undefined) return;
  const { openFiller, openTools } = await import('./voice-tools.ts');
  openTools(configured.tools);
  openFiller(configured);
}
