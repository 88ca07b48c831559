import type { FormatName } from '@spillway/core/format/format';
import type { BodyEdit, JsonValue } from '../http/edit-body.ts';

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
  /** The value at a path of its body; `undefined`: none is there. */
  valueAt(path: readonly string[]): unknown;
  /** Whether its provider is OpenAI's own, which has another name for the bound of an answer that others do not know. */
  readonly isOpenAi: boolean;
}

/** Edits of a body, and what they change, as clients are told. */
export interface CutAnswer {
  readonly edits: readonly BodyEdit[];
  readonly changed: readonly string[];
}

/** The members of the top level that may be read or edited. */
export const cutMembers = [
  'generationConfig',
  'generation_config',
  'include',
  'logprobs',
  'max_completion_tokens',
  'max_output_tokens',
  'max_tokens',
  'output_config',
  'reasoning',
  'reasoning_effort',
  'thinking',
  'top_logprobs',
] as const;

/**
 * The edits that make an answer shorter or cheaper. Each only lowers what was asked for, and none makes a request that its
 * provider would refuse: where that cannot be known, the request stays as it is.
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

  /** Edits a member, and tells that as `name=value`. */
  set(
    path: BodyEdit['path'],
    value: JsonValue | undefined,
    name: string,
    told = JSON.stringify(value),
  ): void {
    this.#edits.set(path.join('.'), { path, value });
    this.#changed.set(name, told);
  }

  /** What stands at a path, with what was edited so far. */
  valueAt(path: readonly string[]): unknown {
    const edit = this.#edits.get(path.join('.'));
    return edit === undefined ? this.#asked.valueAt(path) : edit.value;
  }

  numberAt(path: readonly string[]): number | undefined {
    const value = this.valueAt(path);
    return typeof value === 'number' ? value : undefined;
  }

  /** Whether nothing is there, or `null`, which says the same. */
  isUnset(path: readonly string[]): boolean {
    const value = this.valueAt(path);
    return value === undefined || value === null;
  }
}

/** Gemini takes the names of its members in two spellings. */
const geminiRoots = ['generationConfig', 'generation_config'] as const;

/** The path of a member of Gemini's settings as the request spells it. Without one: as it spells the settings. */
function geminiPath(draft: Draft, camel: readonly string[], snake: readonly string[]): BodyEdit['path'] {
  const root = geminiRoots.find((name) => !draft.isUnset([name])) ?? geminiRoots[0];
  const paths = root === geminiRoots[0] ? [camel, snake] : [snake, camel];
  const [first = camel] = paths;
  return [root, ...(paths.find((path) => !draft.isUnset([root, ...path])) ?? first)];
}

// --- tokens

function capTokens(draft: Draft, cap: number): void {
  const { format, isOpenAi } = draft;
  /** Lowers the bounds that are there; without any, sets one. */
  const lower = (paths: readonly BodyEdit['path'][], unset: BodyEdit['path'] | undefined): void => {
    const set = paths.filter((path) => !draft.isUnset(path));
    if (set.length === 0 && unset !== undefined) draft.set(unset, cap, 'max_tokens');
    for (const path of set) if ((draft.numberAt(path) ?? 0) > cap) draft.set(path, cap, 'max_tokens');
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
    case 'gemini': {
      const path = geminiPath(draft, ['maxOutputTokens'], ['max_output_tokens']);
      lower([path], path);
      break;
    }
    case 'anthropic-messages':
      capAnthropic(draft, cap);
      break;
    default:
  }
}

/** Anthropic's least budget to think. */
const leastThinking = 1024;

/** Anthropic's bound has what the model thinks in it. Thinking keeps its least, and as much is left for the answer. */
function capAnthropic(draft: Draft, cap: number): void {
  const budget = thinkingBudget(draft);
  const most = budget === undefined ? cap : Math.max(cap, 2 * leastThinking);
  if ((draft.numberAt(['max_tokens']) ?? 0) <= most) return;
  draft.set(['max_tokens'], most, 'max_tokens');
  lowerThinking(draft, most - leastThinking);
}

function thinkingBudget(draft: Draft): number | undefined {
  return draft.valueAt(['thinking', 'type']) === 'enabled'
    ? draft.numberAt(['thinking', 'budget_tokens'])
    : undefined;
}

function lowerThinking(draft: Draft, most: number): void {
  const budget = thinkingBudget(draft);
  if (budget === undefined || budget <= most) return;
  draft.set(['thinking', 'budget_tokens'], most, 'thinking_budget');
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
      const path = geminiPath(
        draft,
        ['thinkingConfig', 'thinkingBudget'],
        ['thinking_config', 'thinking_budget'],
      );
      const [budget, most] = [draft.numberAt(path), thinkingTokens[effort]];
      // -1 lets the model choose.
      if (budget === -1 || (budget ?? 0) > most) draft.set(path, most, 'thinking_budget');
      // Some of its models know no word between low and high.
      if (effort !== 'low') return;
      const level = geminiPath(
        draft,
        ['thinkingConfig', 'thinkingLevel'],
        ['thinking_config', 'thinking_level'],
      );
      lowerWord(draft, level, effort);
      break;
    }
    default:
  }
}

function lowerWord(draft: Draft, path: BodyEdit['path'], effort: Effort): void {
  const word = draft.valueAt(path);
  if (typeof word !== 'string') return;
  if (efforts.indexOf(word.toLowerCase()) <= efforts.indexOf(effort)) return;
  // Gemini's words are in capitals, too.
  const isLower = word === word.toLowerCase();
  draft.set(path, isLower ? effort : effort.toUpperCase(), 'reasoning_effort', effort);
}

// --- log probabilities

const logprobsInclude = 'message.output_text.logprobs';

function dropLogprobs(draft: Draft): void {
  const drop = (paths: readonly BodyEdit['path'][]): void => {
    for (const path of paths) if (!draft.isUnset(path)) draft.set(path, undefined, 'logprobs', 'off');
  };
  switch (draft.format) {
    case 'openai-chat':
      if (draft.valueAt(['logprobs']) === true) drop([['logprobs'], ['top_logprobs']]);
      break;
    case 'openai-completions':
      drop([['logprobs']]);
      break;
    case 'openai-responses': {
      const include = draft.valueAt(['include']);
      if (Array.isArray(include) && include.includes(logprobsInclude)) {
        const rest = (include as JsonValue[]).filter((name) => name !== logprobsInclude);
        draft.set(['include'], rest.length === 0 ? undefined : rest, 'logprobs', 'off');
      }
      drop([['top_logprobs']]);
      break;
    }
    case 'gemini': {
      const asks = geminiPath(draft, ['responseLogprobs'], ['response_logprobs']);
      if (draft.valueAt(asks) === true) drop([asks, [asks[0], 'logprobs']]);
      break;
    }
    default:
  }
}
