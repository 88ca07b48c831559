import type { Advice } from '../../config/advice.ts';
import type { Settings } from '../../config/load.ts';
import { checkCertificates } from './certificates.ts';
import type { Finding } from './finding.ts';
import { checkKeyStore } from './key-store.ts';
import { checkLimitStore } from './limit-store.ts';
import { checkProviders } from './providers.ts';
import { checkTaps } from './taps.ts';
import { checkVoice } from './voice.ts';
import { checkBacklog, checkDescriptors, checkPorts } from './system.ts';

/** Tries everything that valid settings need from outside. */
export async function check(settings: Settings, advice: readonly Advice[]): Promise<Finding[]> {
  const [providers, ports, voice, keyStore, limitStore, taps] = await Promise.all([
    checkProviders(settings),
    checkPorts(settings),
    checkVoice(settings),
    checkKeyStore(settings),
    checkLimitStore(settings),
    checkTaps(settings),
  ]);
  const backlog = checkBacklog();
  return [
    { check: 'configuration', status: 'ok', message: 'It is valid.' },
    ...advice.map(({ code, message }): Finding => ({
      check: 'configuration',
      status: 'warn',
      message: `${message} (${code})`,
    })),
    checkKeys(settings),
    ...keyStore,
    ...providers,
    ...voice,
    ...limitStore,
    ...ports,
    ...checkCertificates(settings),
    ...taps,
    checkDescriptors(settings),
    ...(backlog === undefined ? [] : [backlog]),
  ];
}

/** These keys were read with the settings: here they are only counted. */
function checkKeys({ adminKeys, apiKeys }: Settings): Finding {
  const message = `${apiKeys.length} of clients, ${adminKeys.length} of the admin listener.`;
  return { check: 'keys', status: 'ok', message };
}
