/** Where a carrier asks what to do with a call, and opens its socket. */
export const voicePath = '/voice/twilio';
/** Where it asks what follows when the socket is closed. */
export const endedPath = `${voicePath}/ended`;
