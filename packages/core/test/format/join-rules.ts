import type { JoinRules, NamedEvent } from './joined-events.ts';

/**
 * How a careful reader without an SDK puts each format together. Deliberately written apart from the
 * rules by which the formats merge: the two have to agree.
 */

type Json = Record<string, unknown>;

const openaiRepeated = [
  /^(id|object|model|system_fingerprint|service_tier|provider)$/,
  /^choices\.length$/,
  /^choices\[[^\]]*\]\.(index$|content_filter_results\b)/,
];
const openaiLast = [
  /^(created|obfuscation)$/,
  /^usage\.(prompt|completion|total)_tokens$/,
  /^usage\.prompt_tokens_details\.(cached|audio|text|image)_tokens$/,
  /^usage\.completion_tokens_details\.(reasoning|audio|accepted_prediction|rejected_prediction)_tokens$/,
  /^usage\.(prompt_cache_(hit|miss)_tokens|num_sources_used|cost_in_usd_ticks)$/,
];

export const openaiChatRules: JoinRules = {
  part: () => '',
  added: [
    /^choices\[[^\]]*\]\.delta\.(content|refusal|reasoning_content|reasoning)$/,
    /^choices\[[^\]]*\]\.delta\.audio\.(data|transcript)$/,
    /^choices\[[^\]]*\]\.delta\.tool_calls\[[^\]]*\]\.(function\.arguments|custom\.input)$/,
    /^choices\[[^\]]*\]\.delta\.function_call\.arguments$/,
    /^choices\[[^\]]*\]\.logprobs\.(content|refusal)$/,
  ],
  last: openaiLast,
  repeated: [
    ...openaiRepeated,
    /^choices\[[^\]]*\]\.delta\.(role|index|tool_calls\.length)$/,
    /^choices\[[^\]]*\]\.delta\.tool_calls\[[^\]]*\]\.(index|id|type)$/,
  ],
};

export const openaiCompletionsRules: JoinRules = {
  part: () => '',
  added: [
    /^choices\[[^\]]*\]\.text$/,
    /^choices\[[^\]]*\]\.logprobs\.(tokens|token_logprobs|top_logprobs|text_offset)$/,
  ],
  last: openaiLast,
  repeated: openaiRepeated,
};

const responsesDeltas = [
  'output_text',
  'refusal',
  'function_call_arguments',
  'custom_tool_call_input',
  'mcp_call_arguments',
  'code_interpreter_call_code',
  'reasoning_text',
  'reasoning_summary_text',
  'shell_call_command',
  'apply_patch_call_operation_diff',
].join('|');

export const openaiResponsesRules: JoinRules = {
  part: ({ name, data }) => {
    const event = object(data);
    const at = ['item_id', 'output_index', 'content_index', 'summary_index', 'command_index'];
    return [name ?? '', String(event['type']), ...at.map((key) => written(event[key]))].join('/');
  },
  added: [
    new RegExp(String.raw`/response\.(${responsesDeltas})\.delta/[^.]*\.delta$`),
    /\/response\.output_text\.delta\/[^.]*\.logprobs$/,
  ],
  last: [/\/[^/.]*\.(sequence_number|obfuscation)$/],
  repeated: [/\/[^/.]*\.(type|item_id|output_index|content_index|summary_index|command_index)$/],
};

export const anthropicRules: JoinRules = {
  part: ({ name, data }) => {
    const event = object(data);
    return [
      name ?? '',
      String(event['type']),
      written(event['index']),
      String(object(event['delta'])['type']),
    ].join('/');
  },
  added: [/\/content_block_delta\/[^.]*\.delta\.(text|thinking|partial_json)$/],
  last: [],
  repeated: [/\/content_block_delta\/[^.]*\.(type|index|delta\.type)$/],
};

export const geminiRules: JoinRules = {
  part: () => '',
  added: [/\.parts\[#"([^"]*\+)?text(\+[^"]*)?"\]\.text$/, /\.partialArgs\[[^\]]*\]\.stringValue$/],
  last: [
    /^usageMetadata\.(prompt|candidates|total|thoughts|cachedContent|toolUsePrompt)TokenCount$/,
    /^usageMetadata\.(prompt|candidates|cache|toolUsePrompt)TokensDetails\[[^\]]*\]\.tokenCount$/,
    /^usageMetadata\.trafficType$/,
  ],
  repeated: [
    /^(modelVersion|responseId|createTime)$/,
    /^candidates\.length$/,
    /^candidates\[[^\]]*\]\.(index|content\.role|content\.parts\.length)$/,
    /^candidates\[[^\]]*\]\.content\.parts\[#"[^\]]*\]\.(index|thought)$/,
    /^candidates\[[^\]]*\]\.safetyRatings\b/,
    /^usageMetadata\.(prompt|candidates|cache|toolUsePrompt)TokensDetails(\.length|\[[^\]]*\]\.modality)$/,
  ],
};

/** A Gemini event whose parts are named by what they are, not by where they stand in their event. */
export function nameParts(event: NamedEvent): NamedEvent {
  const data = object(event.data);
  if (!Array.isArray(data['candidates'])) return event;
  const candidates = data['candidates'].map((candidate: Json) => {
    const content = object(candidate['content']);
    if (!Array.isArray(content['parts'])) return candidate;
    return { ...candidate, content: { ...content, parts: content['parts'].map(namePart) } };
  });
  return { ...event, data: { ...data, candidates } };
}

function namePart(part: Json): Json {
  const call = object(part['functionCall']);
  const args = call['partialArgs'];
  const { index, ...rest } = part;
  const name = Object.keys(part).toSorted().join('+');
  const named = { ...rest, ...(index === undefined ? {} : { itsIndex: index }), index: name };
  if (!Array.isArray(args)) return named;
  const partialArgs = args.map((arg: Json) => ({ index: arg['jsonPath'], ...arg }));
  return { ...named, functionCall: { ...call, partialArgs } };
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

/** An index as read by an SDK, or as written. */
function written(value: unknown): string {
  const text = typeof value === 'object' && value !== null && 'text' in value ? value.text : value;
  return typeof text === 'string' || typeof text === 'number' ? String(text) : '-';
}
