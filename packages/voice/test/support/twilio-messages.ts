/** Messages as Twilio writes them, by hand: what is tried here is not written by what is tried. */
export const streamSid = 'MZ0123456789abcdef0123456789abcdef';

export const connected = { event: 'connected', protocol: 'Call', version: '1.0.0' };

export const start = {
  event: 'start',
  sequenceNumber: '1',
  start: {
    accountSid: 'AC0123456789abcdef0123456789abcdef',
    streamSid,
    callSid: 'CA0123456789abcdef0123456789abcdef',
    tracks: ['inbound'],
    mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
    customParameters: { token: 'abc' },
  },
  streamSid,
};

export const stop = {
  event: 'stop',
  sequenceNumber: '9',
  streamSid,
  stop: { accountSid: start.start.accountSid, callSid: start.start.callSid },
};

export function media(chunk: number, bytes = 160, track = 'inbound'): object {
  const payload = Buffer.alloc(bytes, chunk % 256).toString('base64');
  return {
    event: 'media',
    sequenceNumber: String(chunk + 1),
    media: { track, chunk: String(chunk), timestamp: String(chunk * 20), payload },
    streamSid,
  };
}
