import { expect, onTestFinished, test } from 'vitest';
import { linesOf } from './support/log-lines.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, postChat } from './support/requests.ts';
import {
  openScriptedProvider,
  refuses,
  type Script,
  type ScriptedProvider,
  writeToken,
} from './support/scripted-provider.ts';

interface Started {
  readonly gateway: RunningGateway;
  readonly first: ScriptedProvider;
  readonly second: ScriptedProvider;
}

/** A gateway before two providers, with these keys of each, and a name for a model of both. */
async function start(ofFirst: string, ofSecond: string, ...more: string[]): Promise<Started> {
  const first = await openScriptedProvider('first');
  const second = await openScriptedProvider('second');
  onTestFinished(() => {
    first.close();
    second.close();
  });
  const upstream = [
    `name=first,url=${first.url}/v1,apiKeyEnv=KEY,${ofFirst}`,
    `name=second,url=${second.url}/v1,apiKeyEnv=KEY,${ofSecond}`,
  ];
  const gateway = await startGateway(
    ['--upstream', upstream.join(' '), '--model', 'name=both,targets=first/a,fallback=second/b', ...more],
    { env: { KEY: 'theirs' } },
  );
  return { gateway, first, second };
}

const readers = 'spillway_readers';

/** Begins an answer, and ends it when it is told to. */
function held(): { readonly script: Script; readonly letGo: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    letGo: resolve,
    script: (response) => {
      writeToken(response, 'begun');
      void promise.then(() => response.end('data: [DONE]\n\n'));
    },
  };
}

test.each([
  ['finish', 'cancel', 'cancelled'],
  ['cancel', 'finish', 'completed'],
])(
  'what becomes of a deserted model is as the target wants it that answers: %s, then %s',
  async (ofFirst, ofSecond, state) => {
    const { first, gateway, second } = await start(`detach=${ofFirst}`, `detach=${ofSecond}`);
    const { letGo, script } = held();
    first.scripts.set('a', refuses(503));
    second.scripts.set('b', script);
    const leaving = new AbortController();
    const response = await postChat(gateway.url, 'both', { signal: leaving.signal });
    await response.body?.getReader().read();
    leaving.abort();
    await eventually(async () => (await metric(gateway.adminUrl, readers)) === 0, 'the reader to be gone');
    if (state === 'completed') letGo();
    const ended = await eventually(() => linesOf(gateway, 'stream ended')[0], 'the end of the stream');
    expect(ended).toMatchObject({ provider: 'second', state });
    letGo();
  },
);

test('a long queue leaves half of what may be waited to the next target', async () => {
  const bounds = 'maxStreams=1,minStreams=1,maxWaiting=10,waitMs=30s';
  const { first, gateway } = await start(bounds, 'detach=grace', '--wait-timeout-ms', '4000');
  const { letGo, script } = held();
  first.scripts.set('a', script);
  const holder = await postChat(gateway.url, 'first/a');
  const startedMs = performance.now();
  const response = await postChat(gateway.url, 'both');
  expect(await response.text()).toContain('second');
  expect(performance.now() - startedMs).toBeGreaterThan(1900);
  expect(linesOf(gateway, 'asking the next target')).toMatchObject([
    { from: 'first/a', to: 'second/b', code: 'overloaded' },
  ]);
  letGo();
  await holder.text();
});
