import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { complaintsOf, modulesIn, modulesOf } from '../../packages/core/test/support/snippets.ts';

const root = join(import.meta.dirname, '../..');

/** What a snippet need not import, each as its package exports it. */
const exported = {
  '@ai-sdk/anthropic': ['createAnthropic'],
  '@ai-sdk/google': ['createGoogle'],
  '@ai-sdk/openai': ['createOpenAI'],
  '@ai-sdk/openai-compatible': ['createOpenAICompatible'],
  '@google/genai': ['GoogleGenAI'],
  '@spillway/client': ['ClientError', 'createFetch', 'openClient'],
  '@spillway/client/react': ['useStream'],
  '@spillway/aws': ['openS3Sink', 'openSqsSink', 'openSqsSource', 'readS3Records'],
  '@spillway/kafka': ['openKafkaSink', 'openKafkaSource'],
  '@spillway/nats': ['openNatsSink', 'openNatsSource'],
  '@spillway/postgres': ['openPostgresSink'],
  '@spillway/redis': ['openRedisLimits', 'openRedisSink', 'openRedisSource'],
  '@spillway/voice': [
    'openAnthropicMessages',
    'openCall',
    'openCascade',
    'openDeepgramListen',
    'openElevenLabsSpeech',
    'openFlite',
    'openGeminiContent',
    'openGeminiLive',
    'openOpenAiChat',
    'openOpenAiRealtime',
    'openOpenAiSpeech',
    'openOpenAiTranscription',
    'openPocketsphinx',
    'fliteMissing',
    'pocketsphinxMissing',
    'resampledModel',
    'SentenceSplitter',
    'speakable',
    'SpeakableText',
    'webhookTool',
  ],
  '@spillway/voice/simulate/recogniser': ['serveSimulatedRecognisers'],
  '@spillway/voice/simulate/speaker': ['serveSimulatedSpeakers'],
  '@spillway/voice/testing/recogniser-rules': ['recogniserRules'],
  '@spillway/voice/testing/speaker-rules': ['speakerRules'],
  '@spillway/voice/simulate/model': ['openSimulatedGemini', 'openSimulatedModel', 'serveSimulatedModels'],
  '@spillway/voice/simulate/speech': ['speech'],
  ws: ['WebSocketServer'],
  ai: ['streamText'],
};

/** What snippets take from the program around them. */
const surroundings = `
  declare const Anthropic: typeof import('@anthropic-ai/sdk').default;
  declare const OpenAI: typeof import('openai').default;
  declare const apiKey: string;
  declare const body: string;
  declare const carrier: import('@spillway/voice').CarrierLeg;
  declare const leg: import('@spillway/voice').ModelLeg;
  declare const clip: Uint8Array;
  declare const client: import('@spillway/client').Client;
  declare const index: Pick<import('@spillway/core').RecordSink, 'write'> & { put: import('@spillway/core').RecordSink['write'] };
  declare const key: string;
  declare const messages: { role: 'user'; content: string }[];
  declare const model: string;
  declare const offerToRetry: (offset: number | undefined) => void;
  declare const play: (bytes: Uint8Array) => Promise<void>;
  declare const port: number;
  declare const reader: import('@spillway/client').StreamReader;
  declare const response: Response;
  declare const sessions: import('@spillway/voice/simulate/model').SimulatedModel[];
  declare const openMyDouble: () => Promise<{ readonly url: string; stall(): void; heal(): void; close(): Promise<void> }>;
  declare const openMyRecogniser: (options: { url: string }) => import("@spillway/voice").Recogniser;
  declare const openMySpeaker: (options: { url: string }) => import("@spillway/voice").Speaker;
  declare const signal: AbortSignal;
  declare const telephoneAudio: import('@spillway/core/audio').AudioFormat;
  declare const test: (name: string, run: () => Promise<void>) => void;
  declare const voice: string;
  declare const hello: import('@spillway/voice/simulate/speech').Speech;
  declare const goodbye: import('@spillway/voice/simulate/speech').Speech;
  declare const show: (chunk: unknown) => void;
  declare const showFailure: (status: number, state: string | undefined) => void;
  declare const showGap: (bytes: number) => void;
  declare const showSpinner: (reason: string) => void;
  declare const socket: import('ws').WebSocket;
  declare const sorry: Uint8Array;
  declare const tokens: () => AsyncIterable<string>;
  declare const url: string;
  ${Object.entries(exported)
    .flatMap(([from, names]) =>
      names.map((name) => `declare const ${name}: typeof import('${from}').${name};`),
    )
    .join('\n')}
`;

async function allModules(): Promise<Map<string, string>> {
  const folders = ['aws', 'client', 'kafka', 'nats', 'postgres', 'redis', 'voice'].map(
    (name) => `packages/${name}/src`,
  );
  const found = await Promise.all(
    folders.map(async (folder) => {
      const paths = await readdir(join(root, folder), { recursive: true });
      return paths.filter((path) => path.endsWith('.ts')).map((path) => join(folder, path));
    }),
  );
  const files = found.flat();
  return modulesOf(root, [
    'README.md',
    'docs/voice-doubles.md',
    'docs/voice.md',
    'packages/client/README.md',
    'packages/voice/README.md',
    'packages/redis/README.md',
    'docs/engines/kafka.md',
    'docs/engines/nats.md',
    'docs/engines/postgres.md',
    'docs/engines/redis.md',
    'docs/engines/s3.md',
    'docs/engines/sqs.md',
    'packages/aws/README.md',
    'packages/kafka/README.md',
    'packages/nats/README.md',
    'packages/postgres/README.md',
    ...files,
  ]);
}

test('every TypeScript snippet of the README, of the client’s and its descriptions, and of the pages on voice compiles', async () => {
  const modules = await allModules();
  expect([...modules.keys()].filter((name) => name.startsWith('README')).length).toBeGreaterThanOrEqual(2);
  expect([...modules.keys()].filter((name) => name.includes('client-README')).length).toBeGreaterThanOrEqual(
    5,
  );
  expect(await complaintsOf(modules, surroundings)).toEqual([]);
}, 60_000);

test('the snippets of the pages of engines run as they stand: they need nothing from around them', async () => {
  const modules = [...(await allModules())].filter(([name]) => name.includes('engines-'));
  expect(modules.length).toBeGreaterThanOrEqual(9);
  expect(await complaintsOf(new Map(modules), '')).toEqual([]);
}, 60_000);

test('what does not compile is noticed: types that nobody says, an address that may be null, an export that is none', async () => {
  const page = [
    '```tsx',
    "useStream({ toText: (event) => event.choices[0]?.delta.content ?? '' });",
    '```',
    '```ts',
    "client.read(response.headers.get('content-location'));",
    '```',
    '',
  ].join('\n');
  const modules = new Map(modulesIn(page).map(({ code, kind }, index) => [`wrong-${index}.${kind}`, code]));
  const unknown = "declare const nothing: typeof import('ai').nothing;";
  const found = (await complaintsOf(modules, surroundings + unknown)).join('\n');
  expect(found).toMatch(/^wrong-0\.tsx\(3,\d+\): error TS/m);
  expect(found).toMatch(/^wrong-1\.ts\(3,\d+\): error TS/m);
  expect(found).toMatch(/^surroundings\.ts\(\d+,\d+\): error TS.*'nothing'/m);
}, 60_000);
