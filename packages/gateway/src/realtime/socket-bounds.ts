/**
 * The largest message, of either side: 15 MiB of audio, the most that the API takes at once, in base64, and what is
 * around it.
 */
const maxMessageBytes = 23_068_672;

/** What `ws` has to keep to, on both sides. */
export const socketBounds = {
  maxPayload: maxMessageBytes,
  /** Each fragment costs more memory than its bytes. */
  maxFragments: 1024,
  // Audio in base64 gets no smaller by what a compressor costs.
  perMessageDeflate: false,
} as const;
