import type { AudioFormat } from '@spillway/core/audio';
import { z } from 'zod';
import { checked, Refusal } from './refusal.ts';

const format = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('audio/pcm'), rate: z.literal(24_000).optional() }),
  z.strictObject({ type: z.literal('audio/pcmu') }),
  z.strictObject({ type: z.literal('audio/pcma') }),
]);

const turnDetection = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('server_vad'),
    threshold: z.number().min(0).max(1).default(0.5),
    prefix_padding_ms: z.int().min(0).max(10_000).default(300),
    silence_duration_ms: z.int().min(0).max(10_000).default(500),
    idle_timeout_ms: z.int().min(5000).max(30_000).nullish(),
    create_response: z.boolean().default(true),
    interrupt_response: z.boolean().default(true),
  }),
  z.strictObject({
    type: z.literal('semantic_vad'),
    eagerness: z.enum(['low', 'medium', 'high', 'auto']).default('auto'),
    create_response: z.boolean().default(true),
    interrupt_response: z.boolean().default(true),
  }),
]);

const tool = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('function'),
    name: z.string().min(1).max(64),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
  }),
  z.looseObject({ type: z.literal('mcp') }),
]);

const input = z.strictObject({
  format: format.optional(),
  transcription: z
    .strictObject({
      model: z.string().optional(),
      language: z.string().optional(),
      languages: z.array(z.string()).optional(),
      keywords: z.array(z.string()).optional(),
      prompt: z.string().optional(),
      delay: z.string().optional(),
    })
    .nullish(),
  noise_reduction: z
    .strictObject({ type: z.enum(['near_field', 'far_field']), strength: z.number().optional() })
    .nullish(),
  turn_detection: turnDetection.nullish(),
});

const output = z.strictObject({
  format: format.optional(),
  voice: z.union([z.string(), z.strictObject({ id: z.string() })]).optional(),
  speed: z.number().min(0.25).max(1.5).optional(),
});

/** What a session and one response have in common. */
export const common = {
  instructions: z.string().optional(),
  // The real model makes text alone, too.
  output_modalities: z.tuple([z.literal('audio')]).optional(),
  max_output_tokens: z.union([z.int().min(1).max(4096), z.literal('inf')]).optional(),
  tools: z.array(tool).optional(),
  tool_choice: z
    .union([z.enum(['auto', 'none', 'required']), z.looseObject({ type: z.string() })])
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  prompt: z.looseObject({ id: z.string() }).nullish(),
  reasoning: z.looseObject({}).optional(),
};

/** What a client may set. */
export const sessionUpdate = z.strictObject({
  type: z.literal('realtime'),
  model: z.string().optional(),
  audio: z.strictObject({ input: input.optional(), output: output.optional() }).optional(),
  include: z.array(z.literal('item.input_audio_transcription.logprobs')).nullish(),
  tracing: z.union([z.literal('auto'), z.looseObject({})]).nullish(),
  truncation: z.union([z.enum(['auto', 'disabled']), z.looseObject({})]).optional(),
  ...common,
});

type Update = z.infer<typeof sessionUpdate>;
type Input = NonNullable<NonNullable<Update['audio']>['input']>;
type Output = NonNullable<NonNullable<Update['audio']>['output']>;

/** The settings of a session, as the API shows them. */
export interface SessionSettings extends Omit<Update, 'audio'> {
  readonly audio: {
    readonly input: Omit<Input, 'format' | 'turn_detection'> & {
      readonly format: z.infer<typeof format>;
      readonly turn_detection: z.infer<typeof turnDetection> | null;
    };
    readonly output: Omit<Output, 'format'> & { readonly format: z.infer<typeof format> };
  };
}

const pcm = { type: 'audio/pcm', rate: 24_000 } as const;

/** What a session begins with. */
export function firstSettings(model: string): SessionSettings {
  return {
    type: 'realtime',
    model,
    output_modalities: ['audio'],
    instructions: '',
    tools: [],
    tool_choice: 'auto',
    max_output_tokens: 'inf',
    tracing: null,
    prompt: null,
    truncation: 'auto',
    include: null,
    audio: {
      input: {
        format: pcm,
        transcription: null,
        noise_reduction: null,
        turn_detection: checked(turnDetection, { type: 'server_vad' }),
      },
      output: { format: pcm, voice: 'marin', speed: 1 },
    },
  };
}

/** The settings with those of an update: what it does not name stays. `hasSpoken`: the voice stays, too. */
export function updatedSettings(now: SessionSettings, update: Update, hasSpoken: boolean): SessionSettings {
  const { audio, model = now.model } = update;
  if (model !== now.model)
    throw new Refusal('invalid_value', 'The model of a session cannot be changed.', 'session.model');
  const voice = audio?.output?.voice ?? now.audio.output.voice;
  if (hasSpoken && JSON.stringify(voice) !== JSON.stringify(now.audio.output.voice))
    throw new Refusal(
      'cannot_update_voice',
      "Cannot update a conversation's voice if assistant audio is present.",
      'session.audio.output.voice',
    );
  return {
    ...now,
    ...update,
    audio: {
      input: {
        ...now.audio.input,
        ...audio?.input,
        format: audio?.input?.format ?? now.audio.input.format,
        turn_detection:
          audio?.input?.turn_detection === undefined
            ? now.audio.input.turn_detection
            : audio.input.turn_detection,
      },
      output: {
        ...now.audio.output,
        ...audio?.output,
        format: audio?.output?.format ?? now.audio.output.format,
      },
    },
  };
}

/** A format of the API in this project's words. */
export function audioFormatOf({ type }: z.infer<typeof format>): AudioFormat {
  if (type === 'audio/pcm') return { encoding: 'pcm16', sampleRateHz: 24_000 };
  return { encoding: type === 'audio/pcmu' ? 'mulaw' : 'alaw', sampleRateHz: 8000 };
}
