import type { Carry } from './carry.ts';

/** How items go in and out: a case is compared with the peers of its own kind. */
export type Kind = 'in batches' | 'one by one' | 'to ten readers';

type Load = () => Promise<Carry>;

const bareRing = () => import('./bare-ring.ts');
const effect = () => import('./effect.ts');
const nodeStreams = () => import('./node-streams.ts');
const spillway = () => import('./spillway.ts');
const streamIter = () => import('./stream-iter.ts');

/**
 * Each is loaded alone, in a process of its own. Of a peer's ways only the fastest are here. What is no peer is
 * called bare or spillway.
 */
export const cases: Readonly<Record<Kind, Readonly<Record<string, Load>>>> = {
  'one by one': {
    'bare ring: put, take': async () => (await bareRing()).putAndTake,
    'bare ring: an await an item': async () => (await bareRing()).awaited,
    'spillway: offer, take': async () => (await spillway()).offerAndTake,
    'spillway: offer, take, weighed': async () => (await spillway()).offerAndTakeWeighed,
    'spillway: write, for await': async () => (await spillway()).writeAndIterate,
    'effect Queue: offer, take': async () => (await effect()).offerAndTake,
    'fastq: push, resume': async () => (await import('./fastq.ts')).pushAndResume,
    'PassThrough: write, data': async () => (await nodeStreams()).writeAndFlow,
    'PassThrough: write, read': async () => (await nodeStreams()).writeAndRead,
    'node Readable: push, read': async () => (await nodeStreams()).pushAndRead,
    'repeater: push, for await': async () => (await import('./repeater.ts')).pushAndIterate,
    'stream/iter push: writeSync, for await': async () => (await streamIter()).write,
    'streamx Readable: push, read': async () => (await import('./streamx.ts')).pushAndRead,
    'web ReadableStream: enqueue, read': async () => (await import('./web-streams.ts')).enqueueAndRead,
  },
  'in batches': {
    'spillway: offer, takeAll': async () => (await spillway()).offerAndTakeAll,
    'effect Queue: offerUnsafe, takeAll': async () => (await effect()).offerUnsafeAndTakeAll,
    'effect Queue: offerAll, takeAll': async () => (await effect()).offerAllAndTakeAll,
    'stream/iter push: writevSync, for await': async () => (await streamIter()).writev,
  },
  'to ten readers': {
    'bare ring: put, take': async () => (await import('./shared-ring.ts')).putAndTake,
    'spillway: offer, take': async () => (await spillway()).offerAndTakeByTen,
    'spillway: offer, takeAll': async () => (await spillway()).offerAndTakeAllByTen,
    'effect PubSub: publish, take': async () => (await effect()).publishAndTake,
    'effect PubSub: publishAll, takeAll': async () => (await effect()).publishAllAndTakeAll,
    'PassThrough: pipe to ten': async () => (await nodeStreams()).pipeToTen,
    'stream/iter broadcast: writeSync': async () => (await streamIter()).broadcastEach,
    'stream/iter broadcast: writevSync': async () => (await streamIter()).broadcastHalves,
    'stream/iter share': async () => (await streamIter()).shareWithTen,
    'web ReadableStream: tee nine times': async () => (await import('./web-streams.ts')).teeToTen,
  },
};
