/** Where a carrier asks what to do with a call, and opens its socket. */
export const voicePath = '/voice/twilio';
