import { SpillwayError } from '@spillway/core';
import { type CallTool, webhookTool } from '@spillway/voice';
import { ConfigError } from '../config/config-error.ts';
import type { VoiceTool } from '../config/read-voice.ts';

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
