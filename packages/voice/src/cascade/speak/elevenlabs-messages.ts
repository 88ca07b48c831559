import { z } from 'zod';
import type { StageErrorCode } from '../stage-error.ts';

/** The most characters of one message that have times. */
const maxCharacters = 20_000;

const times = z.object({
  chars: z.array(z.string().max(16)).max(maxCharacters),
  charStartTimesMs: z.array(z.number()).max(maxCharacters),
  charDurationsMs: z.array(z.number()).max(maxCharacters),
});

/** What is read of a message. The API may say more. */
const message = z.object({
  contextId: z.string().nullish(),
  audio: z.string().nullish(),
  alignment: times.nullish(),
  isFinal: z.boolean().nullish(),
  error: z.string().nullish(),
  message: z.string().nullish(),
});

/** A message of the API. */
export type ElevenLabsMessage = z.infer<typeof message>;

/** Reads a message; `undefined`: it is none. */
export function readElevenLabsMessage(text: string): ElevenLabsMessage | undefined {
  try {
    return message.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** What the API's errors are called here. Others are `refused`. */
const codes: Readonly<Record<string, StageErrorCode>> = {
  authentication_error: 'unauthorized',
  authorization_error: 'unauthorized',
  invalid_api_key: 'unauthorized',
  missing_api_key: 'unauthorized',
  needs_authorization: 'unauthorized',
  unauthorized: 'unauthorized',
  concurrent_limit_exceeded: 'rate_limited',
  max_active_conversations: 'rate_limited',
  quota_exceeded: 'rate_limited',
  rate_limit_exceeded: 'rate_limited',
  system_busy: 'rate_limited',
  too_many_concurrent_requests: 'rate_limited',
  input_timeout_exceeded: 'lost',
  internal_error: 'lost',
  server_error: 'lost',
};

/** The code for an error of the API. */
export function elevenLabsCode(name: string): StageErrorCode {
  return (Object.hasOwn(codes, name) ? codes[name] : undefined) ?? 'refused';
}
