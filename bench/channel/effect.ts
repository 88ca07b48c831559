import { Effect, PubSub, Queue } from 'effect';
import { type Carry, checkInOrder, ten } from './carry.ts';

type Produce = (queue: Queue.Queue<number>, count: number, capacity: number) => Effect.Effect<void>;
type Consume = (queue: Queue.Queue<number>, count: number) => Effect.Effect<void>;

function throughQueue(produce: Produce, consume: Consume): Carry {
  return async (count, capacity) => {
    const program = Effect.gen(function* () {
      const queue = yield* Queue.bounded<number>(capacity);
      yield* Effect.all([produce(queue, count, capacity), consume(queue, count)], { concurrency: 2 });
    });
    await Effect.runPromise(program);
  };
}

const offer: Produce = (queue, count) =>
  Effect.gen(function* () {
    for (let item = 0; item < count; item += 1) yield* Queue.offer(queue, item);
  });

/** Its synchronous path: an effect only when the queue is full. */
const offerUnsafe: Produce = (queue, count) =>
  Effect.gen(function* () {
    for (let item = 0; item < count; item += 1) {
      if (!Queue.offerUnsafe(queue, item)) yield* Queue.offer(queue, item);
    }
  });

const offerHalves: Produce = (queue, count, capacity) =>
  Effect.gen(function* () {
    for (const items of halves(count, capacity)) yield* Queue.offerAll(queue, items);
  });

const take: Consume = (queue, count) =>
  Effect.gen(function* () {
    let inOrder = 0;
    for (let taken = 0; taken < count; taken += 1) if ((yield* Queue.take(queue)) === inOrder) inOrder += 1;
    checkInOrder(inOrder, count);
  });

const takeAll: Consume = (queue, count) =>
  Effect.gen(function* () {
    let inOrder = 0;
    for (let taken = 0; taken < count;) {
      const items = yield* Queue.takeAll(queue);
      taken += items.length;
      for (const item of items) if (item === inOrder) inOrder += 1;
    }
    checkInOrder(inOrder, count);
  });

function* halves(count: number, capacity: number): Generator<number[]> {
  for (let first = 0; first < count; first += capacity / 2) {
    const length = Math.min(capacity / 2, count - first);
    yield Array.from({ length }, (_, index) => first + index);
  }
}

type Publish = (bus: PubSub.PubSub<number>, count: number, capacity: number) => Effect.Effect<void>;
type Follow = (subscription: PubSub.Subscription<number>, count: number) => Effect.Effect<void>;

function throughPubSub(publish: Publish, follow: Follow): Carry {
  return async (count, capacity) => {
    const program = Effect.gen(function* () {
      const bus = yield* PubSub.bounded<number>(capacity);
      const subscriptions = yield* Effect.all(ten(() => PubSub.subscribe(bus)));
      yield* Effect.all(
        [...subscriptions.map((subscription) => follow(subscription, count)), publish(bus, count, capacity)],
        { concurrency: 'unbounded' },
      );
    });
    await Effect.runPromise(Effect.scoped(program));
  };
}

const publishEach: Publish = (bus, count) =>
  Effect.gen(function* () {
    for (let item = 0; item < count; item += 1) yield* PubSub.publish(bus, item);
  });

const publishHalves: Publish = (bus, count, capacity) =>
  Effect.gen(function* () {
    for (const items of halves(count, capacity)) yield* PubSub.publishAll(bus, items);
  });

const followEach: Follow = (subscription, count) =>
  Effect.gen(function* () {
    let inOrder = 0;
    for (let taken = 0; taken < count; taken += 1) {
      if ((yield* PubSub.take(subscription)) === inOrder) inOrder += 1;
    }
    checkInOrder(inOrder, count);
  });

const followBatches: Follow = (subscription, count) =>
  Effect.gen(function* () {
    let inOrder = 0;
    for (let taken = 0; taken < count;) {
      const items = yield* PubSub.takeAll(subscription);
      taken += items.length;
      for (const item of items) if (item === inOrder) inOrder += 1;
    }
    checkInOrder(inOrder, count);
  });

export const offerAndTake = throughQueue(offer, take);
export const offerUnsafeAndTakeAll = throughQueue(offerUnsafe, takeAll);
export const offerAllAndTakeAll = throughQueue(offerHalves, takeAll);
export const publishAndTake = throughPubSub(publishEach, followEach);
export const publishAllAndTakeAll = throughPubSub(publishHalves, followBatches);
