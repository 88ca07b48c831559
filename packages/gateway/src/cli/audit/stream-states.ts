/** What `list` says of how a stream is. */
export const states: readonly string[] = [
  'completed',
  'failed',
  'cancelled',
  'open',
  'interrupted',
  'erased',
];
