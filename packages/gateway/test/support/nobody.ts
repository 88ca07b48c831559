import { openaiChat } from '@spillway/core/format/openai-chat';
import type { StreamOwner } from '../../src/stream/stream.ts';

/** Of a stream that no client has asked for: a test opens it in its own process. */
export const nobody: StreamOwner = {
  provider: { name: 'p', api: 'openai', url: '', apiKey: '', detach: undefined },
  errors: openaiChat,
  owner: '',
  holder: '',
  detach: 'cancel',
  model: undefined,
  client: { address: '', agent: '', caller: '', tenant: '' },
};
