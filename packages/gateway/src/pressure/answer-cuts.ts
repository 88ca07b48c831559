import type { FormatName } from '@spillway/core/format/format';
import type { BodyEdit, JsonValue } from '../http/edit-body.ts';
import { TooLongError } from '../http/request-body.ts';

/** What of an answer gives way. Absent: nothing of that. */
export interface AnswerCuts {
  /** The most tokens. */
  readonly maxTokens?: number | undefined;
  /** The most that the model reasons. */
  readonly reasoningEffort?: Effort | undefined;
  /** Whether there are no log probabilities. */
  readonly dropsLogprobs: boolean;
}

type Effort = 'high' | 'low' | 'medium';

/** How a request was written. */
export interface AskedAnswer {
  readonly format: FormatName;
  /** The values at a path of its body, each time that it is there: as `RequestBody` has them. */
  valuesAt(path: readonly string[]): readonly unknown[];
  /** Whether its provider is OpenAI's own, which has another name for the bound of an answer that others do not know. */
  readonly isOpenAi: boolean;
}

/** Edits of a body, and what they change, as clients are told. */
export interface CutAnswer {
  readonly edits: readonly BodyEdit[];
  readonly changed: readonly string[];
}

/** The names of the members that may be read or edited, of those at the top level and of those inside of them. */
export const cutMembers = [
  'budget_tokens',
  'effort',
  'generationConfig',
  'generation_config',
  'include',
  'logprobs',
  'maxOutputTokens',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'output_config',
  'reasoning',
  'reasoning_effort',
  'responseLogprobs',
  'response_logprobs',
  'thinking',
  'thinkingBudget',
  'thinkingConfig',
  'thinkingLevel',
  'thinking_budget',
  'thinking_config',
  'thinking_level',
  'top_logprobs',
  'type',
] as const;

/**
 * The edits that make an answer shorter or cheaper. Each only lowers what was asked for, and none makes a request that its
 * provider would refuse. What is there several times, or in two spellings, is lowered everywhere: which of them counts is for the
 * provider to say.
 */
export function cutAnswer(asked: AskedAnswer, cuts: AnswerCuts): CutAnswer {
  const draft = new Draft(asked);
  if (cuts.dropsLogprobs) dropLogprobs(draft);
  if (cuts.maxTokens !== undefined) capTokens(draft, cuts.maxTokens);
  if (cuts.reasoningEffort !== undefined) lowerEffort(draft, cuts.reasoningEffort);
  return draft;
}

/** Edits under way: no edit is made without the words for it. */
class Draft implements CutAnswer {
  readonly #edits = new Map<string, BodyEdit>();
  /** By the name in the words: what is lowered twice is told as it is in the end. */
  readonly #changed = new Map<string, string>();
  readonly #asked: AskedAnswer;
  /** The members of the top level that are too long to be looked at. */
  readonly #tooLong = new Set<string | undefined>();

  constructor(asked: AskedAnswer) {
    this.#asked = asked;
  }

  get format(): FormatName {
    return this.#asked.format;
  }

  get isOpenAi(): boolean {
    return this.#asked.isOpenAi;
  }

  get edits(): readonly BodyEdit[] {
    return [...this.#edits.values()];
  }

  get changed(): readonly string[] {
    return [...this.#changed].map(([name, value]) => `${name}=${value}`);
  }

  /**
   * Edits a member wherever its value may not stay, and tells that as `name=value`. `stays` of `undefined`: whether it is not added
   * where it is missing.
   */
  set(
    path: BodyEdit['path'],
    value: JsonValue | undefined,
    stays: (value: unknown) => boolean,
    name: string,
    told = JSON.stringify(value),
  ): void {
    if (this.#tooLong.has(path[0])) return;
    this.#edits.set(path.join('.'), { path, value, stays });
    this.#changed.set(name, told);
  }

  /** {@link set} for what is there, if anything of it may not stay. Adds nothing. */
  lower(
    path: BodyEdit['path'],
    value: JsonValue,
    stays: (value: unknown) => boolean,
    name: string,
    told?: string,
  ): void {
    if (this.valuesAt(path).every(stays)) return;
    this.set(path, value, (each) => each === undefined || stays(each), name, told);
  }

  /** What stands at a path, with what was edited so far. What is too long to be looked at is not there, and is not edited. */
  valuesAt(path: readonly string[]): readonly unknown[] {
    const edit = this.#edits.get(path.join('.'));
    try {
      const values = this.#asked.valuesAt(path);
      return edit === undefined ? values : values.map((each) => (edit.stays?.(each) ? each : edit.value));
    } catch (error) {
      if (!(error instanceof TooLongError)) throw error;
      this.#tooLong.add(path[0]);
      return [];
    }
  }

  /** Whether nothing is there, or `null`, which says the same. */
  isUnset(path: readonly string[]): boolean {
    return this.valuesAt(path).every((value) => value === null || value === undefined);
  }
}

/** Gemini takes the names of its members in two spellings. */
const geminiRoots = ['generationConfig', 'generation_config'] as const;

/** Its settings as the request spells them: several, if it does so in both ways. */
function rootsOf(draft: Draft): readonly (typeof geminiRoots)[number][] {
  return geminiRoots.filter((root) => !draft.isUnset([root]));
}

/** All spellings of a member of these settings, however its names are mixed; those that the request has. */
function geminiPaths(draft: Draft, ...names: readonly (readonly [string, string])[]): BodyEdit['path'][] {
  let paths: BodyEdit['path'][] = rootsOf(draft).map((root) => [root]);
  for (const spellings of names)
    paths = paths.flatMap((path) => spellings.map((name): BodyEdit['path'] => [...path, name]));
  return paths.filter((path) => !draft.isUnset(path));
}

/**
 * A number as lenient servers read it: protocol buffers and others take a text for one, and some a negative one for none.
 * `undefined`: it is neither a number nor a text.
 */
function numberOf(value: unknown): number | undefined {
  const isText = typeof value === 'string';
  if (!isText && typeof value !== 'number') return undefined;
  const number =
    isText && !/\d/.test(value) ? Number.NaN : Number(isText ? value.replaceAll('_', '') : value);
  return number >= 0 ? number : Infinity;
}

/** Whether a value is at most so many, for everybody who reads it. */
function isAtMost(most: number): (value: unknown) => boolean {
  return (value) => (numberOf(value) ?? Infinity) <= most;
}

// --- tokens

function capTokens(draft: Draft, cap: number): void {
  const { format, isOpenAi } = draft;
  const stays = isAtMost(cap);
  /** Lowers the bounds that are there; without any, sets one. */
  const lower = (paths: readonly BodyEdit['path'][], unset: BodyEdit['path'] | undefined): void => {
    const set = paths.filter((path) => !draft.isUnset(path));
    if (set.length === 0 && unset !== undefined) draft.set(unset, cap, stays, 'max_tokens');
    for (const path of set) draft.lower(path, cap, stays, 'max_tokens');
  };
  switch (format) {
    case 'openai-chat':
      lower(
        [['max_tokens'], ['max_completion_tokens']],
        isOpenAi ? ['max_completion_tokens'] : ['max_tokens'],
      );
      break;
    case 'openai-completions':
      // Without a bound it is 16 tokens.
      lower([['max_tokens']], undefined);
      break;
    case 'openai-responses':
      lower([['max_output_tokens']], ['max_output_tokens']);
      break;
    case 'gemini':
      capGemini(draft, cap);
      break;
    case 'anthropic-messages':
      capAnthropic(draft, cap);
      break;
    default:
  }
}

const boundSpellings = ['maxOutputTokens', 'max_output_tokens'] as const;

/** Each of the settings has a bound in the end: nobody knows whether one without takes the place of one that has it. */
function capGemini(draft: Draft, cap: number): void {
  const roots = rootsOf(draft);
  const bounds = geminiPaths(draft, boundSpellings);
  const asked = bounds.flatMap((path) => draft.valuesAt(path)).map((value) => numberOf(value) ?? Infinity);
  const stays = isAtMost(cap);
  for (const path of bounds) draft.lower(path, cap, stays, 'max_tokens');
  for (const root of roots.length === 0 ? [geminiRoots[0]] : roots) {
    const isBound = bounds.some(([first]) => first === root);
    if (isBound && draft.valuesAt([root]).length === 1) continue;
    const name = boundSpellings[geminiRoots.indexOf(root)] ?? boundSpellings[0];
    draft.set([root, name], Math.min(cap, ...asked), stays, 'max_tokens');
  }
}

/** Anthropic's least budget to think. */
const leastThinking = 1024;

/** Anthropic's bound has what the model thinks in it. Thinking keeps its least, and as much is left for the answer. */
function capAnthropic(draft: Draft, cap: number): void {
  const most = thinks(draft) ? Math.max(cap, 2 * leastThinking) : cap;
  // Without a bound it is refused.
  if (draft.isUnset(['max_tokens']) || draft.valuesAt(['max_tokens']).every(isAtMost(most))) return;
  draft.lower(['max_tokens'], most, isAtMost(most), 'max_tokens');
  lowerThinking(draft, most - leastThinking);
}

const thinkingBudget = ['thinking', 'budget_tokens'] as const;

function thinks(draft: Draft): boolean {
  const isEnabled = draft.valuesAt(['thinking', 'type']).includes('enabled');
  return isEnabled && draft.valuesAt(thinkingBudget).some((value) => numberOf(value) !== undefined);
}

function lowerThinking(draft: Draft, most: number): void {
  if (thinks(draft)) draft.lower(thinkingBudget, most, isAtMostAsked(most), 'thinking_budget');
}

/** {@link isAtMost} for what is lowered only where somebody asks for it. */
function isAtMostAsked(most: number): (value: unknown) => boolean {
  return (value) => (numberOf(value) ?? 0) <= most;
}

// --- reasoning

/** The words of all APIs, from the least. */
const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'];
/** What they are where an API wants a number of tokens, as Google has it for OpenAI's words. */
const thinkingTokens: Readonly<Record<Effort, number>> = { low: leastThinking, medium: 8192, high: 24_576 };

/** Only what was asked for is lowered: some models do not reason, and some reason less by default than any word says. */
function lowerEffort(draft: Draft, effort: Effort): void {
  switch (draft.format) {
    case 'openai-chat':
      lowerWord(draft, ['reasoning_effort'], effort);
      break;
    case 'openai-responses':
      lowerWord(draft, ['reasoning', 'effort'], effort);
      break;
    case 'anthropic-messages':
      lowerWord(draft, ['output_config', 'effort'], effort);
      lowerThinking(draft, thinkingTokens[effort]);
      break;
    case 'gemini': {
      const most = thinkingTokens[effort];
      const config = ['thinkingConfig', 'thinking_config'] as const;
      // -1 lets the model choose.
      for (const path of geminiPaths(draft, config, ['thinkingBudget', 'thinking_budget']))
        draft.lower(path, most, isAtMostAsked(most), 'thinking_budget');
      // Some of its models know no word between low and high.
      if (effort !== 'low') return;
      for (const path of geminiPaths(draft, config, ['thinkingLevel', 'thinking_level']))
        lowerWord(draft, path, effort);
      break;
    }
    default:
  }
}

function lowerWord(draft: Draft, path: BodyEdit['path'], effort: Effort): void {
  const most = efforts.indexOf(effort);
  const stays = (word: unknown): boolean =>
    typeof word !== 'string' || efforts.indexOf(word.toLowerCase()) <= most;
  const word = String(draft.valuesAt(path).find((value) => !stays(value)));
  // Gemini's words are in capitals, too.
  const isLower = word === word.toLowerCase();
  draft.lower(path, isLower ? effort : effort.toUpperCase(), stays, 'reasoning_effort', effort);
}

// --- log probabilities

const logprobsInclude = 'message.output_text.logprobs';

function dropLogprobs(draft: Draft): void {
  const drop = (paths: readonly BodyEdit['path'][]): void => {
    for (const path of paths)
      if (!draft.isUnset(path)) draft.set(path, undefined, () => false, 'logprobs', 'off');
  };
  switch (draft.format) {
    case 'openai-chat':
      if (draft.valuesAt(['logprobs']).includes(true)) drop([['logprobs'], ['top_logprobs']]);
      break;
    case 'openai-completions':
      drop([['logprobs']]);
      break;
    case 'openai-responses': {
      const [include, another] = draft.valuesAt(['include']);
      // What remains of two lists is not the same.
      if (another === undefined && Array.isArray(include) && include.includes(logprobsInclude)) {
        const rest = (include as JsonValue[]).filter((name) => name !== logprobsInclude);
        draft.set(['include'], rest.length === 0 ? undefined : rest, () => false, 'logprobs', 'off');
      }
      drop([['top_logprobs']]);
      break;
    }
    case 'gemini': {
      const asks = geminiPaths(draft, ['responseLogprobs', 'response_logprobs']);
      const isAsked = asks.some((path) => draft.valuesAt(path).includes(true));
      if (isAsked) drop([...asks, ...geminiRoots.map((root): BodyEdit['path'] => [root, 'logprobs'])]);
      break;
    }
    default:
  }
}
