import { openaiChat } from '@spillway/core/format/openai-chat';
import type { StreamOwner } from '../../src/stream/stream-owner.ts';

/** Of a stream that no client has asked for: a test opens it in its own process. */
export const nobody: StreamOwner = {
  origin: { name: 'p', api: 'openai' },
  mayRead: () => true,
  errors: openaiChat,
  owner: '',
  holder: '',
  detach: 'cancel',
  model: undefined,
  client: { address: '', agent: '', caller: '', tenant: '' },
};
