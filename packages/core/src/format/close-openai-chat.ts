import type { CutAnswer } from './format.ts';
import { isReasonValue, pick } from './payloads.ts';
import { listOf, numberOf, objectOf } from './json-object.ts';

/**
 * Ends an answer of Chat Completions: one event with `finish_reason: "length"` for every choice that is open, the usage
 * and the reason, then the end marker. One event and not two, because programs that did not ask for the usage expect
 * that every event has a choice.
 */
export function closeOpenaiChat(answer: CutAnswer): Uint8Array {
  return close(answer, 'chat.completion.chunk', (choice) => ({
    delta: {
      ...(choice.hasRole || !answer.isFromStart ? {} : { role: 'assistant', content: '' }),
      ...brokenCalls(choice),
    },
    logprobs: null,
  }));
}

/** The same for legacy Completions. */
export function closeOpenaiCompletions(answer: CutAnswer): Uint8Array {
  return close(answer, 'text_completion', () => ({ text: '', logprobs: null }));
}

interface ToolCall {
  readonly index: unknown;
  readonly id: unknown;
  /** Whether the call's first event is known, so that `text` is all of its arguments. */
  readonly isWhole: boolean;
  text: string;
}

interface Choice {
  isOver: boolean;
  hasRole: boolean;
  readonly calls: Map<unknown, ToolCall>;
  /** The call that came last, which is the one that was cut. */
  last: ToolCall | undefined;
  /** The arguments of a call in the old way. */
  functionCall: string | undefined;
}

function close(
  { events, note, usage: { inputTokens, outputTokens } }: CutAnswer,
  object: string,
  rest: (choice: Choice) => Record<string, unknown>,
): Uint8Array {
  const choices = new Map<number, Choice>();
  let head: unknown;
  for (const event of events) {
    const list = listOf(objectOf(event)['choices']);
    if (list.length > 0) head = event;
    for (const [place, part] of list.entries()) take(part, place, choices);
  }
  if (choices.size === 0) choices.set(0, newChoice());
  const isCounted = inputTokens !== undefined && outputTokens !== undefined;
  const payload = {
    object,
    ...pick(
      head ?? events[0],
      'id',
      'object',
      'created',
      'model',
      'service_tier',
      'system_fingerprint',
      'provider',
    ),
    choices: [...choices]
      .filter(([, { isOver }]) => !isOver)
      .toSorted(([one], [other]) => one - other)
      .map(([index, choice]) => ({ index, ...rest(choice), finish_reason: 'length' })),
    ...(isCounted && {
      usage: {
        prompt_tokens: inputTokens,
        completion_tokens: outputTokens,
        total_tokens: inputTokens + outputTokens,
      },
    }),
    spillway: note,
  };
  return new TextEncoder().encode(`data: ${JSON.stringify(payload)}\n\ndata: [DONE]\n\n`);
}

function newChoice(): Choice {
  return { isOver: false, hasRole: false, calls: new Map(), last: undefined, functionCall: undefined };
}

function take(part: unknown, place: number, choices: Map<number, Choice>): void {
  const { delta, finish_reason: reason, index } = objectOf(part);
  const at = numberOf(index) ?? place;
  const choice = choices.get(at) ?? newChoice();
  choices.set(at, choice);
  choice.isOver ||= isReasonValue(reason);
  const { function_call: functionCall, role, tool_calls: calls } = objectOf(delta);
  choice.hasRole ||= typeof role === 'string';
  for (const call of listOf(calls)) takeCall(objectOf(call), choice);
  if (typeof functionCall === 'object' && functionCall !== null)
    choice.functionCall = (choice.functionCall ?? '') + textOf(objectOf(functionCall)['arguments']);
}

function takeCall(call: Readonly<Record<string, unknown>>, choice: Choice): void {
  const { function: called, id, index } = call;
  if (typeof called !== 'object' || called === null) return;
  const { arguments: args, name } = objectOf(called);
  const key = index ?? id ?? choice.last?.index ?? choice.last?.id;
  const known = choice.calls.get(key) ?? { index, id, isWhole: typeof name === 'string', text: '' };
  known.text += textOf(args);
  choice.calls.set(key, known);
  choice.last = known;
}

/**
 * Calls that agents would take for whole, as deltas that make their arguments no JSON: most run a call when its
 * arguments can be read, whatever the finish reason is, and take none for `{}`. A call whose arguments are visibly half
 * stays as it came, and so does one that is whole, because another came after it.
 */
function brokenCalls({ calls, functionCall, last }: Choice): Record<string, unknown> {
  const broken = [...calls.values()]
    .filter((call) => (call === last || call.text.trim() === '') && (!call.isWhole || mayRun(call.text)))
    .map(({ id, index, text }) => ({
      ...(index === undefined ? { id } : { index }),
      function: { arguments: breaking(text) },
    }));
  return {
    ...(broken.length > 0 && { tool_calls: broken }),
    ...(functionCall !== undefined &&
      mayRun(functionCall) && { function_call: { arguments: breaking(functionCall) } }),
  };
}

/** The least that makes a text no JSON, and no start of a value that is over. */
function breaking(text: string): string {
  return text.trim() === '' ? '{' : ',';
}

function mayRun(text: string): boolean {
  if (text.trim() === '') return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
