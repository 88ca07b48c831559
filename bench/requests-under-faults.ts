import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { type Program, startGateway, startSimulator, statsOf, stopAll } from './programs.ts';

/** What a provider does instead of answering, as the simulator is told it. */
const faults = {
  'answers 429, with `Retry-After: 1`': 'status=429,retryAfter=1',
  'answers 503': 'status=503',
  'answers 500': 'status=500',
  'hangs up': 'hangup=1',
  'is late with its first token': 'ttft=3000,tps=0,tokens=5',
  'answers 200 with a page': 'html=1,status=200',
  'answers 200, and reports an error in place of its first token': 'error=0',
} as const;
const firstTokenMs = 500;

/** A model by a name of one's own for each way in which targets are set up. In front of its behaviour the name of a target is free. */
const setups = {
  alone: (fault) => ({ targets: `one/alone:${fault}` }),
  spared: (fault) => ({ targets: `one/spared:${fault}`, fallback: `two/${spareOf(fault)}` }),
  both: (fault) => ({ targets: `one/both:${fault}`, fallback: `two/both:${fault}` }),
  same: (fault) => ({ targets: `one/same:${fault}`, fallback: `one/same-2:${fault}` }),
} satisfies Record<string, (fault: string) => { readonly targets: string; readonly fallback?: string }>;

/** A model that is well, of which the requests can be told from those of other faults. */
function spareOf(fault: string): string {
  return `${fault.replaceAll(/\W/g, '-')}:ttft=0,tps=0,tokens=5`;
}

/** Requests at each provider for one request of a client: the OpenAI SDK with its own retries, without a gateway and with one. */
export async function requestsUnderFaults(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-faults-'));
  try {
    const [one, two] = [await startSimulator(), await startSimulator()];
    const gateway = await start(folder, one, two);
    const rows = await Promise.all(
      Object.values(faults).map((fault, at) => rowOf(fault, at, gateway, one, two)),
    );
    console.log(
      '| the provider | SDK alone | one target | two, the second is well | two, both do so | two of one provider |',
    );
    console.log('|---|---|---|---|---|---|');
    for (const [at, name] of Object.keys(faults).entries())
      console.log(`| ${name} | ${rows[at]?.join(' | ')} |`);
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true });
  }
}

async function start(folder: string, one: Program, two: Program): Promise<Program> {
  const config = join(folder, 'spillway.yaml');
  const upstream = [
    { name: 'one', url: `${one.url}/v1`, apiKeyEnv: 'KEY', firstTokenMs },
    { name: 'two', url: `${two.url}/v1`, apiKeyEnv: 'KEY', firstTokenMs },
  ];
  const model = Object.values(faults).flatMap((fault, at) =>
    Object.entries(setups).map(([name, targetsOf]) => ({ name: `${name}-${at}`, ...targetsOf(fault) })),
  );
  // JSON is YAML, too.
  writeFileSync(config, JSON.stringify({ upstream, model }));
  return await startGateway(undefined, ['--config', config], { env: { KEY: 'theirs' } });
}

async function rowOf(
  fault: string,
  at: number,
  gateway: Program,
  one: Program,
  two: Program,
): Promise<readonly string[]> {
  await Promise.all([
    ask(one, `direct:${fault}`),
    ...Object.keys(setups).map((name) => ask(gateway, `${name}-${at}`)),
  ]);
  const counted = async (provider: Program, ...models: string[]): Promise<number> =>
    (await statsOf(provider)).filter(({ model }) => models.includes(model)).length;
  return [
    String(await counted(one, `direct:${fault}`)),
    String(await counted(one, `alone:${fault}`)),
    `${await counted(one, `spared:${fault}`)} + ${await counted(two, spareOf(fault))}`,
    `${await counted(one, `both:${fault}`)} + ${await counted(two, `both:${fault}`)}`,
    String(await counted(one, `same:${fault}`, `same-2:${fault}`)),
  ];
}

/** Reads a stream to its end, whatever that is. */
async function ask({ url }: Program, model: string): Promise<void> {
  const { chat } = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', logLevel: 'off' });
  try {
    const stream = await chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
    });
    for await (const chunk of stream) void chunk;
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
  }
}
