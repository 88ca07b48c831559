import { SpillwayError } from '@spillway/core';
import { z } from 'zod';

/** A script that cannot be run. */
export type CallScriptErrorCode = 'invalid_script';

const ms = z.number().min(0).max(3_600_000);
const share = z.number().min(0).max(1);

/** The things of which a step does one. */
const actions = ['hear', 'press', 'quiet', 'say', 'wait'] as const;

const step = z
  .strictObject({
    /** Waits until something is heard. */
    hear: z
      .strictObject({
        /** So much of anything that is no silence, in milliseconds, since the caller last began to speak. */
        ms: ms.optional(),
        /** A clip, as its own bytes: of a bridge and a model that pass µ-law on as it is. */
        clip: z.string().min(1).optional(),
        /** How much of the clip. */
        share: z.number().min(0.01).max(1).default(0.9),
        /** Milliseconds from now. */
        within: ms.default(10_000),
      })
      .optional(),
    /** Says a clip: its name alone, or with more. */
    say: z
      .preprocess(
        (value) => (typeof value === 'string' ? { clip: value } : value),
        z.strictObject({
          clip: z.string().min(1),
          /** Whether the step is over only when all was said. */
          wholly: z.boolean().default(true),
          /** What is heard when it begins is over so many milliseconds later: an interruption that works. */
          quietWithin: ms.optional(),
        }),
      )
      .optional(),
    /** Waits until nothing is heard for so long: an answer is over. */
    quiet: z.strictObject({ ms: ms.default(1000), within: ms.default(60_000) }).optional(),
    /** Presses keys, one after the other. */
    press: z
      .string()
      .regex(/^[0-9*#A-D]+$/, 'expected keys: 0 to 9, *, #, or A to D')
      .optional(),
    /** Waits so many milliseconds. */
    wait: ms.optional(),
  })
  .refine((one) => actions.filter((name) => one[name] !== undefined).length === 1, {
    error: `expected one of ${actions.join(', ')}`,
  });

const callScript = z.strictObject({
  /** The URL of a socket or a webhook. */
  url: z.string().optional(),
  /** Goes back with the start message. */
  parameters: z.record(z.string(), z.string()).default({}),
  link: z
    .strictObject({
      seed: z.int().min(0).max(4_294_967_295).optional(),
      lossRate: share.optional(),
      delayMs: ms.max(60_000).optional(),
      stallRate: share.optional(),
      stallMs: ms.max(60_000).optional(),
    })
    .default({}),
  maxDurationMs: ms.min(100).default(600_000),
  steps: z.array(step).min(1).max(1000),
  /** What has to be true of the whole call. */
  expect: z
    .strictObject({
      /** The most audio that waits at the carrier: a window that is kept. */
      maxBufferedMs: ms.optional(),
      /** Silences of 5 to 1,000 ms in answers. */
      maxGaps: z.int().min(0).optional(),
      /** From the beginning to the first sound. */
      firstHeardWithin: ms.optional(),
    })
    .default({}),
});

/** A conversation with a bridge, and what has to be true of it. */
export type CallScript = z.infer<typeof callScript>;

/** One step of it. */
export type CallScriptStep = z.infer<typeof step>;

/**
 * Checks a script that was read from JSON or YAML, and fills in the defaults.
 *
 * @throws {SpillwayError} `invalid_script`, with each problem on a line of its own.
 */
export function readCallScript(script: unknown): CallScript {
  const read = callScript.safeParse(script);
  if (read.success) return read.data;
  const problems = read.error.issues.map(({ message, path }) => `${path.join('.') || 'script'}: ${message}`);
  throw new SpillwayError<CallScriptErrorCode>('invalid_script', problems.join('\n'));
}
