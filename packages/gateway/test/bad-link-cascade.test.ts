import { fileURLToPath } from 'node:url';
import { serveSimulatedRecognisers } from '@spillway/voice/simulate/recogniser';
import { serveSimulatedSpeakers } from '@spillway/voice/simulate/speaker';
import { expect, onTestFinished, test } from 'vitest';
import { needs } from '../../core/test/support/needs.ts';
import { until } from '../../core/test/support/until.ts';
import { begin, ChatServer, chunk, done } from '../../voice/test/support/chat-server.ts';
import { callOverBadLink } from './support/bad-link-calls.ts';
import { canMakeBadLinks } from './support/bad-link.ts';
import { spawnNode } from './support/spawn.ts';

/** The bounds of a cascade's queues, in milliseconds. */
const bounds = {
  inWaitingMs: 5000,
  outUnconfirmedMs: 800,
  // A sentence of 200 characters, at 65 ms each, beside what made room for it.
  outWaitingMs: 13_800,
  outSocketMs: 800,
  speak: 30_000,
} as const;
const calls = 5;
const words =
  'There are three of them. The first one is a reading for children, at four. The next one is a talk about the history of the telephone, on the twelfth.';
/** 500 ms of silence are waited for; the recogniser takes 100, the model 300, and the speaker 200. */
const silenceMs = 500;
const stagesMs = 600;

test('promise 23: on a link of 100 ms and 5 % loss a cascade’s queues stay within their bounds, and its answers are as late as the link makes them', async (context) => {
  needs(context, await canMakeBadLinks(), 'Linux, root, iproute2, vde2 and vde-wirefilter');
  const url = await startCascade();
  const callers = { port: Number(new URL(url).port), path: '/', calls, turns: 3, listenMs: 2500 };
  const ended = await callOverBadLink({ ...callers, filter: ['-d', '50', '-l', '5'] });
  expect(ended).toHaveLength(calls);
  for (const call of ended) {
    expect(call.refusals).toEqual([]);
    expect(call.end).toBe('hung_up');
    expect(call.maxBufferedMs).toBeLessThanOrEqual(800.5);
    expect(call.figures.interruptions.length).toBeGreaterThan(0);
  }
  const answersMs = ended
    .flatMap(({ figures }) => figures.answers.map(({ afterMs }) => afterMs - silenceMs - stagesMs + 500))
    .toSorted((a, b) => a - b);
  expect(answersMs.length).toBeGreaterThanOrEqual(10);
  expect(answersMs[Math.floor(answersMs.length * 0.7)]).toBeLessThan(1200);
  await until(() => most.length === calls);
  for (const one of most)
    for (const [place, bound] of Object.entries(bounds)) expect(one[place], place).toBeLessThanOrEqual(bound);
});

const most: Record<string, number>[] = [];

/** Starts a program with a cascade, and the other sides of its stages. */
async function startCascade(): Promise<string> {
  const apiKey = 'sk-test';
  const recognisers = await serveSimulatedRecognisers({ apiKey, faults: { lateMs: 100 } });
  const speakers = await serveSimulatedSpeakers({ apiKey, delayMs: 200, speed: 5 });
  const chat = new ChatServer((response) => {
    setTimeout(() => {
      begin(response);
      response.end(`${chunk({ content: words })}${chunk({}, 'stop')}${done}`);
    }, 300);
  });
  const chatUrl = await chat.listen();
  const program = fileURLToPath(new URL('../../voice/test/support/cascade-program.ts', import.meta.url));
  const urls = [recognisers.transcriptionUrl, chatUrl, speakers.openAiUrl];
  const command = spawnNode(program, [...urls, 'greeting', 'watch']);
  onTestFinished(async () => {
    command.process.kill('SIGKILL');
    await Promise.all([recognisers.close(), speakers.close(), chat.close()]);
  });
  let seen = 0;
  command.process.stdout?.on('data', () => {
    const lines = command.stdout().split('\n').slice(0, -1);
    for (const line of lines.slice(seen))
      if (line.startsWith('{')) most.push(JSON.parse(line) as Record<string, number>);
    seen = lines.length;
  });
  await until(() => command.stdout().includes('listening on '));
  return /listening on (\S+)/u.exec(command.stdout())?.[1] ?? '';
}
