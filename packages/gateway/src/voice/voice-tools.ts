import { SpillwayError } from '@spillway/core';
import { type CallTool, webhookTool } from '@spillway/voice';
import { readWav } from '@spillway/voice/simulate/carrier';
import { ConfigError } from '../config/config-error.ts';
import type { VoiceSettings, VoiceTool } from '../config/read-voice.ts';

/**
 * The tools of calls.
 *
 * @throws {ConfigError} for parameters that are no JSON Schema.
 */
export function openTools(tools: readonly VoiceTool[]): readonly CallTool[] {
  return tools.map(({ fallback, ...tool }) => {
    try {
      return webhookTool({ ...tool, ...(fallback === undefined ? {} : { fallback }) });
    } catch (error) {
      if (!(error instanceof SpillwayError)) throw error;
      throw new ConfigError(`voice.${error.message.replace(/\.$/, '')}`);
    }
  });
}

/**
 * What is heard while a tool works, as a telephone plays it; `undefined`: nothing.
 *
 * @throws {ConfigError} for a file that is no such audio.
 */
export function openFiller({ filler }: Pick<VoiceSettings, 'filler'>): Uint8Array | undefined {
  if (filler === undefined) return undefined;
  try {
    const audio = filler.isWav ? readWav(filler.bytes) : filler.bytes;
    if (audio.byteLength > 0) return audio;
  } catch (error) {
    if (!(error instanceof SpillwayError)) throw error;
    throw new ConfigError(`voice.fillerFile: ${error.message.replace(/\.$/, '')}`);
  }
  throw new ConfigError('voice.fillerFile: expected audio, got none');
}
