import { EventScanner } from '@spillway/core/format/sse';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import { z } from 'zod';
import { readBounded } from '../read-bounded.ts';
import { StageError } from '../stage-error.ts';
import type { TranscriptionUsage } from './transcription-options.ts';

/** The largest answer, and the largest event in one: a minute of the fastest speech has 3 KB of text. */
const maxAnswerBytes = 1_048_576;
const maxEventBytes = 65_536;

const usage = z
  .union([
    z.object({ input_tokens: z.number(), output_tokens: z.number() }),
    z.object({ seconds: z.number() }),
  ])
  .nullish()
  // An API that counts otherwise has words all the same.
  .catch(undefined);

const whole = z.object({ text: z.string(), usage });
const event = z.discriminatedUnion('type', [
  z.object({ type: z.literal('transcript.text.delta'), delta: z.string() }),
  z.object({ type: z.literal('transcript.text.done'), text: z.string(), usage }),
  z.object({ type: z.literal('error') }),
]);
const knownTypes: ReadonlySet<string> = new Set(event.options.map(({ shape }) => shape.type.value));

/** The words of an utterance, and what they cost. */
export interface Transcript {
  readonly text: string;
  readonly usage: TranscriptionUsage | undefined;
}

/**
 * Reads an answer with status 200 to 299: events, or one object.
 *
 * @param onText is called with the words so far.
 * @throws {StageError} `bad_message`, or `lost` where it was cut
 */
export async function readTranscript(
  response: Response,
  onText: (text: string) => void,
): Promise<Transcript> {
  const type = response.headers.get('content-type') ?? '';
  if (!type.startsWith('text/event-stream')) {
    const bytes = await readBounded(response, maxAnswerBytes);
    if (bytes === undefined) throw badMessage(`more than ${maxAnswerBytes} bytes`);
    const answer = whole.safeParse(parsed(bytes));
    if (!answer.success) throw badMessage('an answer without a text');
    return transcriptOf(answer.data);
  }
  const scanner = new EventScanner({ maxEventBytes });
  let text = '';
  let bytes = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxAnswerBytes) throw badMessage(`more than ${maxAnswerBytes} bytes`);
    for (const one of eventsOf(scanner, chunk)) {
      if (one.type === 'transcript.text.done') return transcriptOf(one);
      if (one.type === 'error') throw new StageError('lost', 'It told an error in the middle of an answer.');
      text += one.delta;
      onText(text);
    }
  }
  throw new StageError('lost', 'It ended an answer in the middle.');
}

function eventsOf(scanner: EventScanner, chunk: Uint8Array): z.infer<typeof event>[] {
  const events: z.infer<typeof event>[] = [];
  try {
    scanner.push(chunk, ({ bytes }) => {
      for (const span of eventsIn(bytes)) {
        const message = parsed(dataOf(bytes, span));
        const { data } = z.object({ type: z.string() }).safeParse(message);
        // What the API got later is none of this.
        if (data === undefined || !knownTypes.has(data.type)) continue;
        events.push(event.parse(message));
      }
    });
  } catch (error) {
    throw new StageError('bad_message', 'It sent an event that is too large, or not what was expected.', {
      cause: error instanceof z.ZodError ? undefined : error,
    });
  }
  return events;
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}

function transcriptOf({ text, usage: used }: z.infer<typeof whole>): Transcript {
  // A transcript may begin with a space.
  return { text: text.trim(), usage: usageOf(used) };
}

function usageOf(used: z.infer<typeof usage>): TranscriptionUsage | undefined {
  if (used === null || used === undefined) return undefined;
  return 'seconds' in used
    ? { seconds: used.seconds }
    : { inputTokens: used.input_tokens, outputTokens: used.output_tokens };
}

function badMessage(what: string): StageError {
  return new StageError('bad_message', `It sent ${what}.`);
}
