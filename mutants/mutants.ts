/** A build that is broken on purpose, and the test that has to notice. */
export interface Mutant {
  /** The promise that it breaks, and how. */
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  readonly test: string;
  /** Only tests whose name contains this. */
  readonly only?: string;
}

const gateway = 'packages/gateway/src';
const gatewayTest = 'packages/gateway/test';
const core = 'packages/core/src';
const coreTest = 'packages/core/test';

export const mutants: readonly Mutant[] = [
  {
    name: 'promise 1: the answer of write() is ignored',
    file: `${gateway}/sink/write-events.ts`,
    find: 'wantsMore = response.write(run.bytes);',
    replace: 'response.write(run.bytes);',
    test: `${gatewayTest}/memory.test.ts`,
    only: 'promise 1',
  },
  {
    name: 'promise 1: a full channel does not pause the provider',
    file: `${gateway}/source/reply-source.ts`,
    find: 'this.#reply.pause();',
    replace: '',
    test: `${gatewayTest}/memory.test.ts`,
    only: 'promise 1',
  },
  {
    name: 'promise 1: the channel counts chunks and not their bytes',
    file: `${core}/channel/channel-reader.ts`,
    find: 'this.#log.appendedBytes - this.#passedBytes + this.#kept.bytes + bytes <= this.bounds.maxBytes',
    replace: 'bytes >= 0',
    test: `${gatewayTest}/memory.test.ts`,
    only: 'promise 1',
  },
  {
    name: 'promise 3: readers that wait for their connections wait in one line',
    file: `${gateway}/sink/write-events.ts`,
    find: 'if (!wantsMore) await response.drained();',
    replace:
      'const all = globalThis as { line?: Promise<void> };\n' +
      'await (all.line = (all.line ?? Promise.resolve()).then(() => (wantsMore ? undefined : response.drained())));',
    test: `${gatewayTest}/memory.test.ts`,
    only: 'promise 3',
  },
  {
    name: 'promise 6: only drain ends a wait, a close hangs it',
    file: `${gateway}/sink/client-response.ts`,
    find: "response.on('close', settle);",
    replace: '',
    test: `${gatewayTest}/cancel.test.ts`,
    only: 'destroy',
  },
  {
    name: 'promise 6: a half-closed client is not noticed',
    file: `${gateway}/sink/client-response.ts`,
    find: "socket?.on('end', onHalfClosed);",
    replace: '',
    test: `${gatewayTest}/cancel.test.ts`,
    only: 'paused by backpressure',
  },
  {
    name: 'promise 6: the abort is forgotten before the first token',
    file: `${gateway}/source/reply.ts`,
    find: "signal.addEventListener('abort', this.#onAbort, { once: true });",
    replace: '',
    test: `${gatewayTest}/cancel.test.ts`,
    only: 'destroy: before the response headers',
  },
  {
    name: 'promise 6: nobody looks at the signal while it waits for a free place',
    file: `${gateway}/admission.ts`,
    find: '{ signal: waiting.signal }',
    replace: '{}',
    test: `${gatewayTest}/cancel.test.ts`,
    only: 'waiting for a free place',
  },
  {
    name: 'promise 6: nobody looks at the signal while it waits to try again',
    file: `${gateway}/source/open-reply.ts`,
    find: 'await sleep(delayMs, undefined, { signal });',
    replace: 'await sleep(delayMs);',
    test: `${gatewayTest}/cancel.test.ts`,
    only: 'waiting to try again',
  },
  {
    name: 'promise 7: an end without the marker is an end',
    file: `${gateway}/source/reply-source.ts`,
    find: 'scanner === undefined ? error === undefined : scanner.hasEnded',
    replace: 'error === undefined || scanner?.hasEnded === true',
    test: `${gatewayTest}/endings.test.ts`,
    only: 'orderly end',
  },
  {
    name: 'promise 7: any cut is an end',
    file: `${gateway}/source/reply-source.ts`,
    find: 'scanner === undefined ? error === undefined : scanner.hasEnded',
    replace: 'true',
    test: `${gatewayTest}/endings.test.ts`,
    only: 'cut at every byte',
  },
  {
    name: 'promise 7: half an event counts at the end',
    file: `${core}/format/sse.ts`,
    find: "if (this.#dataLines !== 1 || this.#lastKind !== 'end') return;",
    replace: '',
    test: `${gatewayTest}/endings.test.ts`,
    only: 'cut at every byte',
  },
  {
    name: 'promise 8: a CRLF that two chunks share is two line ends',
    file: `${core}/format/sse.ts`,
    find: 'this.#afterCr = isAfterCr && line === chunk.length;',
    replace: '',
    test: `${coreTest}/sse.test.ts`,
  },
  {
    name: 'promise 8: the line that a chunk leaves open is forgotten',
    file: `${core}/format/sse.ts`,
    find: 'this.#partialLine = line - eventStart;',
    replace: '',
    test: `${coreTest}/sse.test.ts`,
  },
  {
    name: 'promise 8: a BOM that is cut is not skipped',
    file: `${core}/format/sse.ts`,
    find: 'if (looksLikeBom && bytes.length < BOM.length) {',
    replace: 'if (looksLikeBom && bytes.length < 2) {',
    test: `${coreTest}/sse.test.ts`,
  },
  {
    name: 'promise 11: a reader is not watched once the provider has finished',
    file: `${gateway}/stream.ts`,
    find: 'if (socket === null || response.isSettled) return;',
    replace:
      "if (socket === null || response.isSettled || this.phase !== 'streaming' || !this.isPaused) return;",
    test: `${gatewayTest}/stalled.test.ts`,
    only: 'also when the provider has already finished',
  },
  {
    name: 'promise 11: progress that the kernel hides does not count',
    file: `${gateway}/stream.ts`,
    find: 'const unacknowledgedBytes = queues?.bytesOf(socket) ?? 0;',
    replace: 'const unacknowledgedBytes = queues === undefined ? 1 : 0;',
    test: `${gatewayTest}/stalled.test.ts`,
    only: 'but not one that is slow',
  },
  {
    name: 'promise 5: a gap is not announced',
    file: `${core}/channel/channel-reader.ts`,
    find: 'const before = this.#gap;',
    replace: "const before = this.#gap;\nif (reason === 'latest') return;",
    test: `${coreTest}/channel.property.test.ts`,
    only: 'whatever is done',
  },
  {
    name: 'promise 4: chunks are let go when the first reader has passed them',
    file: `${core}/channel/channel.ts`,
    find: 'if (reader.position >= slowest) continue;',
    replace: 'if (reader.position > slowest) continue;\nif (slowest < log.head) continue;',
    test: `${coreTest}/channel.property.test.ts`,
    only: 'whatever is done',
  },
  {
    name: 'the bound is off by one',
    file: `${core}/channel/channel-reader.ts`,
    find: 'items < this.bounds.maxItems &&',
    replace: 'items <= this.bounds.maxItems &&',
    test: `${coreTest}/channel.property.test.ts`,
    only: 'whatever is done',
  },
  {
    name: "promise 4: a merge across a reader's cursor",
    file: `${core}/channel/chunk-log.ts`,
    find: 'if (position > start && position < end && !isBorder) {',
    replace: 'if (position > start && position < end) {',
    test: `${coreTest}/channel.test.ts`,
    only: 'across the cursor',
  },
  {
    name: 'promise 4: a merge in front of a reader that did not ask for it',
    file: `${core}/channel/channel.ts`,
    find: "if (reader.overflow !== 'coalesce') end = Math.min(end, reader.position);",
    replace: '',
    test: `${coreTest}/channel.test.ts`,
    only: 'own chunks',
  },
  {
    name: 'a wake-up is lost',
    file: `${core}/channel/channel.ts`,
    find: 'for (const reader of this.#readers) reader.wake();',
    replace: 'for (const reader of this.#readers.slice(1)) reader.wake();',
    test: `${coreTest}/channel.property.test.ts`,
    only: 'nobody waits for ever',
  },
  {
    name: 'a listener is kept after a write has settled',
    file: `${core}/channel/channel.ts`,
    find: "signal?.removeEventListener('abort', onAbort);",
    replace: '',
    test: `${coreTest}/channel.test.ts`,
    only: 'leaves no listener',
  },
  {
    name: 'a sink that fails leaves its source running',
    file: `${core}/pipe.ts`,
    find: 'if (channel.end === undefined) from.cancel(error);',
    replace: '',
    test: `${coreTest}/pipe.test.ts`,
  },
  {
    name: 'a pipe waits for a source that hangs, although it was cancelled',
    file: `${core}/pipe.ts`,
    find: 'stopReading?.();',
    replace: '',
    test: `${coreTest}/pipe.test.ts`,
    only: 'never answers',
  },
  {
    name: 'promise 10: credit is spent twice',
    file: `${core}/channel/channel-reader.ts`,
    find: 'for (const credit of this.#credit) credit.spend(1, bytes);',
    replace: 'for (const credit of this.#credit) credit.spend(1, bytes) && credit.spend(1, bytes);',
    test: `${coreTest}/credit.test.ts`,
  },
  {
    name: 'promise 10: a grant may go beyond the maximum',
    file: `${core}/credit/credit.ts`,
    find: 'if (max !== undefined && this.#available[unit] + amount > max) {',
    replace: 'if (max !== undefined && amount > max) {',
    test: `${coreTest}/credit.test.ts`,
    only: 'promise 10',
  },
  {
    name: '3.13: a reader that left still listens for grants',
    file: `${core}/channel/channel-reader.ts`,
    find: 'for (const unlisten of this.#unlisten.splice(0)) unlisten();',
    replace: '',
    test: `${coreTest}/credit.test.ts`,
    only: '3.13',
  },
];
