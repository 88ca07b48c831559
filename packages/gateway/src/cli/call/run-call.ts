import { readFile } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { SpillwayError } from '@spillway/core';
import {
  type CallOutcome,
  type CallReport,
  type CallScript,
  readCallScript,
  readWav,
  runCallScript,
} from '@spillway/voice/simulate/carrier';
import { parse } from 'yaml';
import { fail } from '../audit/audit-source.ts';
import { Lines } from '../audit/lines.ts';
import { shown } from '../audit/shown.ts';
import { exitCodes } from '../exit-codes.ts';

/** What `call` takes. */
export interface CallOptions {
  readonly wav?: string;
  readonly script?: string;
  readonly sign?: true;
  readonly json?: true;
}

/** Places a call, prints what came of it, and sets the exit code. */
export async function callCommand(url: string | undefined, options: CallOptions): Promise<void> {
  const { json, script: scriptFile, sign, wav } = options;
  if ((wav === undefined) === (scriptFile === undefined))
    fail(exitCodes.usage, `expected either --wav or --script, got ${wav === undefined ? 'neither' : 'both'}`);
  const authToken = sign === undefined ? undefined : tokenOrFail();
  const script = scriptFile === undefined ? wavScript(wav ?? '') : await scriptOrFail(scriptFile);
  if ((url ?? script.url) === undefined) fail(exitCodes.usage, 'expected a URL, here or in the script');
  // Clips lie beside their script.
  const folder = scriptFile === undefined ? '.' : dirname(scriptFile);
  const lines = new Lines();
  let printed = Promise.resolve();
  const print = (line: string): void => {
    printed = printed.then(() => lines.write(shown(line)));
  };
  // Whoever is impatient hangs up, and hears what came until then; a second time ends the process.
  const hangUp = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => hangUp.abort());
  const report = await runCallScript(script, {
    url,
    signal: hangUp.signal,
    authToken,
    readClip: (name) => clipOrFail(resolve(folder, name)),
    onStep: (outcome) => {
      if (json === undefined) print(outcomeLine(outcome));
    },
  }).catch((error: unknown) => {
    if (!(error instanceof SpillwayError)) throw error;
    return fail(error.code === 'invalid_option' ? exitCodes.usage : exitCodes.failed, shown(error.message));
  });
  if (json === undefined) for (const line of figureLines(report)) print(line);
  else print(JSON.stringify(withoutAudio(report)));
  await printed;
  process.exitCode = report.isOk ? exitCodes.done : exitCodes.failed;
}

/** Waits until a greeting is over, says the file, hears the answer to its end, and hangs up. */
function wavScript(wav: string): CallScript {
  return readCallScript({
    steps: [
      { quiet: { ms: 1500, within: 30_000 } },
      { say: wav },
      { hear: { ms: 1, within: 15_000 } },
      { quiet: { ms: 2000, within: 180_000 } },
    ],
  });
}

async function scriptOrFail(file: string): Promise<CallScript> {
  try {
    return readCallScript(parse(await readFile(file, 'utf8'), { logLevel: 'silent' }));
  } catch (error) {
    return fail(exitCodes.noInput, `${file}: ${messageOf(error)}`);
  }
}

async function clipOrFail(file: string): Promise<Uint8Array> {
  try {
    const bytes = await readFile(file);
    const clip = extname(file) === '.ulaw' ? bytes : readWav(bytes);
    if (clip.byteLength === 0) throw new Error('expected audio, got none');
    return clip;
  } catch (error) {
    return fail(exitCodes.noInput, `${file}: ${messageOf(error)}`);
  }
}

function tokenOrFail(): string {
  const token = process.env['TWILIO_AUTH_TOKEN'];
  if (token === undefined || token === '')
    return fail(exitCodes.usage, "--sign: expected the account's token in TWILIO_AUTH_TOKEN, got none");
  return token;
}

function outcomeLine({ detail, isOk, name }: CallOutcome): string {
  return `${isOk ? 'ok  ' : 'FAIL'}  ${name}: ${detail}`;
}

function figureLines({ figures, record }: CallReport): readonly string[] {
  const { answers, durationMs, firstHeardMs, gaps, heardMs, interruptions, saidMs } = figures;
  const { end, maxBufferedMs } = record;
  return [
    `said ${seconds(saidMs)}, heard ${seconds(heardMs)} of ${seconds(durationMs)}; at most ${whole(maxBufferedMs)} ms waited at the carrier; gaps: ${gaps.length}`,
    `first sound: ${firstHeardMs === undefined ? 'none' : `after ${whole(firstHeardMs)} ms`}; answers after: ${list(answers.map(({ afterMs }) => afterMs))}; quiet after an interruption: ${list(interruptions.map(({ quietAfterMs }) => quietAfterMs))}`,
    `ended: ${end.why}, ${end.code}${end.reason === '' ? '' : ` ${end.reason}`}`,
  ];
}

/** A report as JSON has it: the audio is left out, and so is when each piece of it was played. */
function withoutAudio({ figures, isOk, outcomes, record }: CallReport): object {
  const { callId, clears, end, lostFrames, marks, maxBufferedMs, refusals, said, streamId } = record;
  return {
    isOk,
    outcomes,
    figures,
    record: { callId, streamId, said, clears, marks: marks.length, lostFrames, maxBufferedMs, refusals, end },
  };
}

function list(durationsMs: readonly number[]): string {
  return durationsMs.length === 0 ? 'none' : `${durationsMs.map(whole).join(', ')} ms`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function whole(ms: number): string {
  return String(Math.round(ms));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
