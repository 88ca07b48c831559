import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { figuresOf, placeCall, type SimulatedCall } from '@spillway/voice/simulate/carrier';
import { serveSimulatedRecognisers } from '@spillway/voice/simulate/recogniser';
import { serveSimulatedSpeakers } from '@spillway/voice/simulate/speaker';
import { speech } from '@spillway/voice/simulate/speech';
import { freePort } from '../packages/core/test/support/free-port.ts';
import { spawnNode, spawnSpillway } from '../packages/gateway/test/support/spawn.ts';
import { begin, ChatServer, chunk, done } from '../packages/voice/test/support/chat-server.ts';
import { type Placement, place } from './placement.ts';
import { connectable, listening, type Program, quantile, stopAll } from './programs.ts';
import { sleep, startCount } from './workload.ts';

const apiKey = 'sk-test';
const question = speech('caller-question');
/** Two sentences of some five seconds. */
const answer = 'There are three of them this month. The first one is a reading for children, at four.';
const tokenMs = 20;
const thinkMs = 300;
const turns = 4;
const host = '127.0.0.1';

/** The other sides of the three stages, in this process. */
interface Stages {
  readonly recogniserUrl: string;
  readonly chatUrl: string;
  readonly speakerUrl: string;
  close(): Promise<void>;
}

/**
 * What a call with a cascade costs, and how long its caller waits: everybody asks, hears an answer of five seconds, and asks again. The
 * recogniser takes 100 ms, the model of text 300 ms and then 50 tokens a second, the speaker 200 ms and then a fifth of the time of its
 * speech. Each stage in turn is also left out of the program that is measured: the difference is what it costs there.
 */
export async function cascade(isShort: boolean): Promise<void> {
  const placement = place();
  const calls = isShort ? [5] : [20];
  const stages = await serveStages();
  const folder = mkdtempSync(join(tmpdir(), 'spillway-cascade-'));
  console.log(`Each program ${placement.description}.`);
  try {
    for (const count of calls) {
      for (const plain of [[], ['recognise'], ['reason'], ['speak'], ['recognise', 'reason', 'speak']]) {
        const name = plain.length === 0 ? '@spillway/voice' : `without ${plain.join(', ')}`;
        await measure(name, await startLibrary(stages, plain, placement), { count, placement });
      }
      await measure('Spillway gateway', await startGateway(stages, folder, placement), { count, placement });
    }
  } finally {
    await stages.close();
    rmSync(folder, { recursive: true });
    await stopAll();
  }
}

async function serveStages(): Promise<Stages> {
  const recogniser = await serveSimulatedRecognisers({ apiKey, faults: { lateMs: 100 } });
  const speaker = await serveSimulatedSpeakers({ apiKey, delayMs: 200, speed: 5 });
  const chat = new ChatServer((response) => {
    const words = answer.split(/(?<= )/u);
    begin(response);
    const next = (): void => {
      const word = words.shift();
      if (word === undefined) response.end(`${chunk({}, 'stop')}${done}`);
      else {
        response.write(chunk({ content: word }));
        setTimeout(next, tokenMs);
      }
    };
    setTimeout(next, thinkMs);
  });
  return {
    recogniserUrl: recogniser.transcriptionUrl,
    chatUrl: await chat.listen(),
    speakerUrl: speaker.openAiUrl,
    close: async () => {
      await Promise.all([recogniser.close(), speaker.close(), chat.close()]);
    },
  };
}

async function startLibrary(
  { chatUrl, recogniserUrl, speakerUrl }: Stages,
  plain: readonly string[],
  { system }: Placement,
): Promise<Program> {
  const program = fileURLToPath(
    new URL('../packages/voice/test/support/cascade-program.ts', import.meta.url),
  );
  const args = [recogniserUrl, chatUrl, speakerUrl, ...plain];
  return await listening(spawnNode(program, args, { prefix: system, env: { NODE_ENV: 'production' } }));
}

async function startGateway(
  { chatUrl, recogniserUrl, speakerUrl }: Stages,
  folder: string,
  { system }: Placement,
): Promise<Program> {
  const port = await freePort(host);
  const config = join(folder, 'spillway.yaml');
  const v1 = (url: string): string => `${url.replace(/\/v1$/, '')}/v1`;
  writeFileSync(
    config,
    `upstream:
  - { name: chat, api: openai, url: '${v1(chatUrl)}', apiKeyEnv: STAGES_KEY }
  - { name: ears, api: openai, url: '${v1(recogniserUrl)}', apiKeyEnv: STAGES_KEY }
  - { name: mouth, api: openai, url: '${v1(speakerUrl)}', apiKeyEnv: STAGES_KEY }
voice:
  greeting: ''
  publicUrl: http://${host}:${port}
  maxCalls: 1000
  cascade:
    recognise: ears/gpt-4o-mini-transcribe
    reason: chat/gpt-5-mini
    speak: mouth/gpt-4o-mini-tts
`,
  );
  const args = ['--port', String(port), '--admin-port', '0', '--log-level', 'silent', '--config', config];
  const env = { NODE_ENV: 'production', TWILIO_AUTH_TOKEN: 'bench', STAGES_KEY: apiKey };
  const command = spawnSpillway(['serve', ...args], { prefix: system, env });
  const program = await connectable({ command, url: `http://${host}:${port}` });
  return { ...program, url: `${program.url}/voice/twilio` };
}

async function measure(
  name: string,
  program: Program,
  { count, placement }: { readonly count: number; readonly placement: Placement },
): Promise<void> {
  const signing = program.url.startsWith('http') ? { authToken: 'bench' } : {};
  const calls: SimulatedCall[] = [];
  for (let at = 0; at < count; at += 1) {
    calls.push(await placeCall(program.url, signing));
    // Not all of them in one breath.
    await sleep(7000 / count);
  }
  const talking = calls.map(async (call) => talk(call));
  await sleep(3000);
  const stop = startCount({ placement, program });
  const records = await Promise.all(talking);
  const spent = stop();
  const answers = records.flatMap((record) => figuresOf(record).answers.map(({ afterMs }) => afterMs));
  const [p50, p99] = [0.5, 0.99].map((part) => quantile(answers, part).toFixed(0));
  const most = Math.max(...records.map(({ maxBufferedMs }) => maxBufferedMs));
  console.log(
    `${String(count).padStart(3)} calls, ${name}: ${answers.length} answers after ${p50} / ${p99} ms (p50 / p99), ` +
      `${(spent.systemUs / 1000 / spent.seconds / count).toFixed(2)} ms CPU a second of a call, ` +
      `at the ear at most ${most.toFixed(0)} ms; the load ${(spent.loadShare * 100).toFixed(0)} % of its core, others ${(spent.othersShare * 100).toFixed(0)} %`,
  );
  program.command.process.kill();
}

async function talk(call: SimulatedCall): ReturnType<typeof hangUp> {
  for (let turn = 0; turn < turns; turn += 1) {
    call.say(question.audio);
    await call.whenSaid();
    await call.whenHeard(4500, 20_000);
    // The rest of the answer, and a breath.
    await sleep(1500);
  }
  return await hangUp(call);
}

function hangUp(call: SimulatedCall): SimulatedCall['ended'] {
  call.hangUp();
  return call.ended;
}
