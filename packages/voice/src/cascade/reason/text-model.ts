import { expectUrl } from '../../expect-access.ts';
import { invalid } from '@spillway/core/invalid';

/** Who is asked, in messages of errors. */
export const who = 'The model of text';

/** What is the same for each model of text, whatever API it speaks. */
export interface TextModelOptions {
  /** The model's name. */
  readonly model: string;
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The largest event of the answer, in bytes. Default: 1 MiB. */
  readonly maxEventBytes?: number;
  /** What asks. Default: the platform's `fetch`. */
  readonly fetch?: typeof fetch;
}

/**
 * The URL of an API with the path of a request behind it. A query of the URL stays.
 *
 * @throws {SpillwayError} `invalid_option` for a model without a name, and for another URL.
 */
export function requestUrl(model: string, url: string, path: string): URL {
  if (model === '') throw invalid('model: expected the name of a model, got nothing.');
  const made = expectUrl(url, ['http:', 'https:']);
  made.pathname = `${made.pathname.replace(/\/+$/, '')}${path}`;
  return made;
}
