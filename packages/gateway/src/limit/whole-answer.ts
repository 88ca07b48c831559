import type { LimitedRequest } from './limited-request.ts';

/** What is reserved of an answer in one piece when its request has no bound of its own, in tokens. */
const defaultTokens = 4096;
/**
 * No answer has as many tokens as this. A request that allows more is counted with it: all numbers of a store are whole and
 * safe then, with a price too, and nothing but a limit that is larger lets it start.
 */
const mostTokens = 1_000_000_000;

/** The members by which requests bound the tokens of an answer, in all APIs, and how many answers they want. Gemini takes any mix of spellings. */
export const boundPaths = [
  ['max_tokens'],
  ['max_completion_tokens'],
  ['max_output_tokens'],
  ['generationConfig', 'maxOutputTokens'],
  ['generationConfig', 'max_output_tokens'],
  ['generation_config', 'maxOutputTokens'],
  ['generation_config', 'max_output_tokens'],
  ['options', 'num_predict'],
] as const;
const nPath = ['n'] as const;
/** So many are made for a prompt, and the best of them are sent. */
const bestOfPath = ['best_of'] as const;
export const choicePaths = [
  nPath,
  bestOfPath,
  ['generationConfig', 'candidateCount'],
  ['generationConfig', 'candidate_count'],
  ['generation_config', 'candidateCount'],
  ['generation_config', 'candidate_count'],
] as const;

/** What has to be reserved of an answer before it begins, in tokens. */
export interface WholeAnswer {
  /** Less is not enough; `undefined`: as of any answer. */
  readonly atLeast: number | undefined;
  readonly want: number;
  /** How many answers its provider makes for each that it sends. */
  readonly madeForEach: number;
}

/**
 * The whole of an answer that nothing can end, because it is no stream of events; `undefined`: it can be ended, or has no
 * text of a model. `valueAt`: the text at one of the paths above.
 */
export function wholeAnswer(
  { prompts = 1, route, wantsEvents }: Pick<LimitedRequest, 'prompts' | 'route' | 'wantsEvents'>,
  valueAt: (path: readonly string[]) => string | undefined,
): WholeAnswer | undefined {
  if (wantsEvents) return undefined;
  const most = (paths: readonly (readonly string[])[]): number | undefined => {
    // Some servers take a text for a number, with underscores in it too.
    const numbers = paths
      .map((path) => Number(valueAt(path)?.replaceAll('_', '')))
      .filter((number) => number >= 1);
    return numbers.length === 0 ? undefined : Math.ceil(Math.max(...numbers));
  };
  const answers = (most(choicePaths) ?? 1) * prompts;
  const madeForEach = Math.max(1, (most([bestOfPath]) ?? 1) / (most([nPath]) ?? 1));
  const bound = most(boundPaths);
  const want = Math.min((bound ?? defaultTokens) * answers, mostTokens);
  if (bound !== undefined) return { atLeast: want, want, madeForEach };
  return route.format === undefined ? undefined : { atLeast: undefined, want, madeForEach };
}
