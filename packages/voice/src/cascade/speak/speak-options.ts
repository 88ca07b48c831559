import { expectUrl } from '../../expect-access.ts';
import { systemClock } from '@spillway/core/clock';
import { expectWhole } from '@spillway/core/invalid';
import { StageError } from '../stage-error.ts';
import type { SpeakTimeouts } from './attempt.ts';

/** @throws {SpillwayError} `invalid_option` */
export function timeoutsOf({
  clock = systemClock,
  firstAudioTimeoutMs = 10_000,
  stallTimeoutMs = 5000,
}: SpeakTimeouts): Required<SpeakTimeouts> {
  expectWhole('firstAudioTimeoutMs', firstAudioTimeoutMs, 1, 120_000);
  expectWhole('stallTimeoutMs', stallTimeoutMs, 1, 120_000);
  return { clock, firstAudioTimeoutMs, stallTimeoutMs };
}

/**
 * The URL of a path that begins with `/v1`, at an API whose address may end with that.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function apiUrl(address: string, protocols: readonly string[], path: string): URL {
  const url = expectUrl(address, protocols);
  url.pathname = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '') + path;
  return url;
}

/** Why a text is not spoken any more. */
export function closedSpeaker(): StageError {
  return new StageError('lost', 'The speaker is closed.');
}
