import type { Format } from '@spillway/core/format/format';
import { BodyFilter } from './body-filter.ts';
import { EventFilter } from './event-filter.ts';
import { PassingBodyFilter } from './passing-body-filter.ts';
import type { ContentFilter, ContentOptions } from './kept-content.ts';

export type { ContentFilter, ContentOptions, KeptContent } from './kept-content.ts';

/**
 * Creates the filter for one stream. `undefined`: everything is kept as it is. `format`: that of the events; `undefined`:
 * the body is no stream of events.
 */
export function createContentFilter(
  format: Format | undefined,
  options: ContentOptions,
): ContentFilter | undefined {
  const { content, redact = [], shed = [] } = options;
  // Without rules there is nothing to redact, and so nothing to read.
  const given: ContentOptions = {
    content,
    shed,
    maxHeldBytes: options.maxHeldBytes,
    ...(redact.length === 0 ? {} : { redact }),
  };
  const isWhole = content === 'full' && redact.length === 0;
  if (format === undefined) {
    if (isWhole) return undefined;
    const { passingBytes } = options;
    return passingBytes !== undefined && content === 'full'
      ? new PassingBodyFilter(redact, passingBytes)
      : new BodyFilter(given);
  }
  return isWhole && shed.length === 0 ? undefined : new EventFilter(format.name, given);
}
