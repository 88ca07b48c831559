import { GatewayError } from '@spillway/server/errors';
import { isTwilioSignature } from '@spillway/voice';
import type { SignedLine } from '../config/read-voice.ts';
import { type CarrierRequest, signatureHeader } from './carrier-request.ts';

/** Why a request is none of the carrier's; `undefined`: its account has signed it. A socket has no form. */
export function signatureRefusal(
  { authToken, publicUrl }: SignedLine,
  { form = {}, signature, target }: Pick<CarrierRequest, 'signature' | 'target'> & Partial<CarrierRequest>,
  scheme: 'http' | 'ws',
): GatewayError | undefined {
  const base = scheme === 'ws' ? publicUrl.replace(/^http/, 'ws') : publicUrl;
  if (isTwilioSignature({ authToken, signature, url: base + target, form })) return undefined;
  return new GatewayError(
    'invalid_signature',
    `The header ${signatureHeader}: expected Twilio's signature of ${base}${target.split('?')[0]} with the auth token of the account (voice.publicUrl, authTokenEnv), got ${signature === undefined ? 'none' : 'another one'}.`,
  );
}
