import { GatewayError } from '@spillway/server/errors';
import { isTwilioSignature } from '@spillway/voice';
import type { SignedLine } from '../config/read-voice.ts';

/** What a carrier has asked by HTTP. */
export interface CarrierRequest {
  /** The host that it asked at. */
  readonly host: string;
  /** The path and query, as they came. */
  readonly target: string;
  /** The header `X-Twilio-Signature`. */
  readonly signature: string | undefined;
  /** The fields of its form; one that came several times has all its values. */
  readonly form: Readonly<Record<string, string | readonly string[]>>;
}

/** The header with which Twilio signs. */
export const signatureHeader = 'x-twilio-signature';

/** The carrier's id of the call that a request is about; empty: it has none. */
export function callIdOf({ form }: Pick<CarrierRequest, 'form'>): string {
  const id = form['CallSid'];
  return typeof id === 'string' ? id : '';
}

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
