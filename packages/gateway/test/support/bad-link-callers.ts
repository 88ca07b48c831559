// Places calls from the far end of a bad link, and prints what their ears and the link's end know, as JSON.
import {
  type CallRecordFigures,
  type CarrierRefusal,
  figuresOf,
  placeCall,
} from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { loudPart } from './loud-part.ts';
import { openTimedPipe, type PassedBytes, sharedNowMs } from './timed-pipe.ts';

/** How many call, and how. */
export interface BadLinkCallers {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly calls: number;
  /** How often each caller asks, and speaks into the answer after so much of it. */
  readonly turns: number;
  readonly listenMs: number;
}

/** What a caller knows. */
export interface CallerTruth {
  /** When the call began, on the machine's clock. */
  readonly startedMs: number;
  readonly passed: PassedBytes | undefined;
  readonly maxBufferedMs: number;
  readonly refusals: readonly CarrierRefusal[];
  readonly end: string;
  readonly figures: CallRecordFigures;
}

const { calls, host, listenMs, path, port, turns } = JSON.parse(process.argv[2] ?? '') as BadLinkCallers;
const clips = (['caller-hello', 'caller-question', 'caller-interruption'] as const).map((name) =>
  loudPart(speech(name).audio),
);
/** Calls do not say the same at the same moment. */
const apartMs = 131;

const truths: CallerTruth[] = [];
const running: Promise<void>[] = [];
for (let index = 0; index < calls; index += 1) {
  running.push(call(index));
  await new Promise((resolve) => setTimeout(resolve, apartMs));
}
await Promise.all(running);
process.stdout.write(JSON.stringify(truths));

async function call(index: number): Promise<void> {
  const pipe = await openTimedPipe({ listenHost: '127.0.0.1', host, port, isBefore: true });
  const placed = await placeCall(`ws://127.0.0.1:${pipe.port}${path}`, { connectTimeoutMs: 20_000 });
  const startedMs = sharedNowMs() - placed.nowMs;
  await placed.whenHeard(1000, 20_000);
  for (let turn = 0; turn < turns; turn += 1) {
    placed.say(clips[(index + turn) % clips.length] ?? new Uint8Array());
    await placed.whenSaid();
    const heardMs = placed.heardMs;
    await placed.whenHeard(heardMs + listenMs, 20_000);
  }
  placed.hangUp();
  const record = await placed.ended;
  const { end, maxBufferedMs, refusals } = record;
  const figures = figuresOf(record);
  const [passed] = pipe.passed;
  truths.push({ startedMs, passed, maxBufferedMs, refusals, end: end.why, figures });
  await pipe.close();
}
