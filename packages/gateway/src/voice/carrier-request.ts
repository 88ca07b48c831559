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
