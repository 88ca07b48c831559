import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AudioFormat, Resampler, telephoneAudio } from '@spillway/core/audio';
import { openDeepgramListen, openOpenAiTranscription, openPocketsphinx } from '@spillway/voice';
import {
  serveSimulatedRecognisers,
  type SimulatedRecogniserServer,
} from '@spillway/voice/simulate/recogniser';
import { speech, type SpeechName } from '@spillway/voice/simulate/speech';
import type { RecogniserEngine } from '@spillway/voice/testing/recogniser-rules';
import { WebSocketServer } from 'ws';
import { freePort } from '../../../core/test/support/free-port.ts';

export const wideband: AudioFormat = { encoding: 'pcm16', sampleRateHz: 16_000 };
export const testKey = 'key-that-nobody-may-see';

/** A clip in another format, as somebody with a telephone sounds there. */
export function clipIn(
  name: SpeechName,
  format: AudioFormat,
): { readonly text: string; readonly audio: Uint8Array } {
  const { audio, text } = speech(name);
  const resampler = new Resampler(telephoneAudio, format);
  return { text, audio: Buffer.concat([resampler.push(audio), resampler.end()]) };
}

function faultsOf(server: SimulatedRecogniserServer) {
  const set = (faults: SimulatedRecogniserServer['faults']) => (): void => {
    server.faults = faults;
  };
  return {
    stall: set({ isStalled: true }),
    cut: set({ isCut: true }),
    limit: set({ rateLimitedS: 0 }),
    heal: set({}),
    openCount: () => server.openCount,
  };
}

/** OpenAI's API for transcriptions, as its double. */
export async function transcriptionEngine(isStream: boolean): Promise<RecogniserEngine> {
  const server = await serveSimulatedRecognisers({ apiKey: testKey });
  const nobody = await freePort();
  let says: Uint8Array = new Uint8Array(0);
  let wildRequests = 0;
  const wild = createServer((request, response) => {
    request.resume();
    const isEvents = (wildRequests += 1) % 2 === 0;
    response.writeHead(200, { 'content-type': isEvents ? 'text/event-stream' : 'application/json' });
    response.end(isEvents ? Buffer.concat([Buffer.from('data: '), says, Buffer.from('\n\n')]) : says);
  });
  await new Promise<void>((resolve) => {
    wild.listen(0, '127.0.0.1', resolve);
  });
  const open = (url: string, isImpatient = false) =>
    openOpenAiTranscription({
      url,
      apiKey: testKey,
      stream: isStream,
      ...(isImpatient ? { timeoutMs: 800 } : {}),
    });
  return {
    ...faultsOf(server),
    open: (options) => open(server.transcriptionUrl, options?.isImpatient),
    openUnreachable: () => open(`http://127.0.0.1:${nobody}`, true),
    openWild(bytes) {
      says = bytes;
      return open(`http://127.0.0.1:${(wild.address() as AddressInfo).port}`, true);
    },
    utterances: [clipIn('caller-hello', wideband), clipIn('caller-interruption', wideband)],
    hasTimes: false,
    confirms: false,
    secret: testKey,
    async remove() {
      wild.closeAllConnections();
      wild.close();
      await server.close();
    },
  };
}

/** Deepgram's live API, as its double. */
export async function deepgramEngine(format: AudioFormat): Promise<RecogniserEngine> {
  const server = await serveSimulatedRecognisers({ apiKey: testKey, segmentMs: 1000, interimMs: 200 });
  const nobody = await freePort();
  let says: Uint8Array = new Uint8Array(0);
  const wild = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(wild, 'listening');
  wild.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.send(says, { binary: false });
  });
  const open = (url: string, isImpatient = false) =>
    openDeepgramListen({
      url,
      apiKey: testKey,
      format,
      ...(isImpatient ? { connectTimeoutMs: 2000, finalTimeoutMs: 800 } : {}),
    });
  return {
    ...faultsOf(server),
    open: (options) => open(server.deepgramUrl, options?.isImpatient),
    openUnreachable: () => open(`ws://127.0.0.1:${nobody}/v1/listen`, true),
    openWild(bytes) {
      says = bytes;
      return open(`ws://127.0.0.1:${(wild.address() as AddressInfo).port}/v1/listen`, true);
    },
    utterances: [clipIn('caller-hello', format), clipIn('caller-interruption', format)],
    hasTimes: true,
    confirms: true,
    secret: testKey,
    async remove() {
      for (const socket of wild.clients) socket.terminate();
      wild.close();
      await server.close();
    },
  };
}

/** What the two clips say, and what sounds like it. */
const grammar = `#JSGF V1.0;
grammar library;
public <said> = hello when are you open | hello where are you now | wait stop i only have one question | thank you goodbye;`;

/** PocketSphinx itself, by a Python that says which processes there are. */
export function pocketsphinxEngine(): RecogniserEngine {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-words-'));
  const pids = join(folder, 'pids');
  const script = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, `#!/bin/sh\necho $$ >> ${pids}\n${text}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const python = script('python', 'exec /usr/bin/python3 "$@"');
  const running = (): number[] =>
    existsSync(pids) ? readFileSync(pids, 'utf8').trim().split('\n').map(Number).filter(isRunning) : [];
  const tell = (signal: NodeJS.Signals) => (): void => {
    for (const pid of running()) process.kill(pid, signal);
  };
  return {
    open: (options) =>
      openPocketsphinx({ python, grammar, ...(options?.isImpatient ? { finalTimeoutMs: 1500 } : {}) }),
    openUnreachable: () => openPocketsphinx({ python: join(folder, 'nothing'), grammar }),
    openWild(says) {
      writeFileSync(join(folder, 'says'), says);
      const wild = script('wild', `cat ${join(folder, 'says')}; exec cat > /dev/null`);
      return openPocketsphinx({ python: wild, startTimeoutMs: 1500, finalTimeoutMs: 1000 });
    },
    stall: tell('SIGSTOP'),
    heal: tell('SIGCONT'),
    cut: tell('SIGKILL'),
    openCount: () => running().length,
    utterances: [clipIn('caller-hello', wideband), clipIn('caller-interruption', wideband)],
    hasTimes: true,
    confirms: true,
    remove() {
      tell('SIGKILL')();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Whether a process is there, and is no dead child that was not waited for. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
