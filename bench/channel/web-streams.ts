import { type Carry, checkInOrder, ten } from './carry.ts';

/** Enqueues into a ReadableStream while it wants more: faster than through a TransformStream's two queues. */
function enqueueAll(
  count: number,
  capacity: number,
): { readonly stream: ReadableStream<number>; readonly produce: () => Promise<void> } {
  let wakeProducer: (() => void) | undefined;
  const opened = Promise.withResolvers<ReadableStreamDefaultController<number>>();
  const stream = new ReadableStream<number>(
    { start: opened.resolve, pull: () => wakeProducer?.() },
    { highWaterMark: capacity },
  );
  const produce = async (): Promise<void> => {
    const controller = await opened.promise;
    for (let item = 0; item < count; item += 1) {
      if ((controller.desiredSize ?? 0) <= 0) await new Promise<void>((resolve) => (wakeProducer = resolve));
      controller.enqueue(item);
    }
    controller.close();
  };
  return { stream, produce };
}

async function readAll(stream: ReadableStream<number>, count: number): Promise<void> {
  let inOrder = 0;
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    if (next.value === inOrder) inOrder += 1;
  }
  checkInOrder(inOrder, count);
}

export const enqueueAndRead: Carry = async (count, capacity) => {
  const { produce, stream } = enqueueAll(count, capacity);
  await Promise.all([readAll(stream, count), produce()]);
};

/** Tees nine times; a branch of a tee has no bound of its own. */
export const teeToTen: Carry = async (count, capacity) => {
  const { produce, stream } = enqueueAll(count, capacity);
  let rest = stream;
  const branches = ten(() => {
    const [branch, other] = rest.tee();
    rest = other;
    return branch;
  });
  await Promise.all([...branches.map((branch) => readAll(branch, count)), produce()]);
};
