import { describe, expect, test } from 'vitest';
import type { LinkState } from '../src/sink/link.ts';
import { Pace } from '../src/sink/pace.ts';

/**
 * A link in made-up time: bytes leave one behind the other at its rate and arrive after its delay; what the
 * other side acknowledges comes back after the delay again.
 */
class Link {
  nowMs = 0;
  bytesPerMs: number;
  readonly delayMs: number;
  #written = 0;
  #freeAtMs = 0;
  #acks: { readonly atMs: number; readonly bytes: number }[] = [];

  constructor(bytesPerMs: number, delayMs: number) {
    this.bytesPerMs = bytesPerMs;
    this.delayMs = delayMs;
  }

  /** Writes, and returns when the last byte arrives. */
  write(bytes: number): number {
    this.#written += bytes;
    this.#freeAtMs = Math.max(this.#freeAtMs, this.nowMs) + bytes / this.bytesPerMs;
    const arrivalMs = this.#freeAtMs + this.delayMs;
    // As late as a receiver may be with it.
    this.#acks.push({ atMs: arrivalMs + this.delayMs + 40, bytes: this.#written });
    return arrivalMs;
  }

  get written(): number {
    return this.#written;
  }

  read(): LinkState {
    const arrived = this.#acks.findLast(({ atMs }) => atMs <= this.nowMs);
    return { atMs: this.nowMs, ackedBytes: arrived?.bytes ?? 0, minRttMs: 2 * this.delayMs };
  }
}

/** Sends tokens of text, 250 bytes of envelope an event, merging what waits. */
function run(
  link: Link,
  { onMs, seconds, tps }: { seconds: number; tps: number; onMs?: (nowMs: number) => void },
): { ages: number[]; lastMs: number; held: number; bytes: number; slowdowns: number } {
  const pace = new Pace(() => link.read());
  const ages: number[] = [];
  let waiting: number[] = [];
  let held = 0;
  let nextAskMs = 0;
  let lastMs = 0;
  for (let made = 0; made < seconds * tps || waiting.length > 0; link.nowMs += 1) {
    onMs?.(link.nowMs);
    const due = Math.min(seconds * tps, Math.floor((link.nowMs * tps) / 1000) + 1);
    for (; made < due; made += 1) waiting.push(link.nowMs);
    if (waiting.length === 0 || link.nowMs < nextAskMs) continue;
    const delayMs = made < seconds * tps ? pace.delayMs(link.nowMs) : 0;
    if (delayMs > 0) {
      held += 1;
      nextAskMs = link.nowMs + delayMs;
      continue;
    }
    lastMs = link.write(250 + 5 * waiting.length);
    pace.wrote(link.nowMs, link.written);
    ages.push(...waiting.map((madeMs) => lastMs - madeMs));
    waiting = [];
  }
  return {
    ages: ages.toSorted((a, b) => a - b),
    lastMs,
    held,
    bytes: link.written,
    slowdowns: pace.slowdowns,
  };
}

describe('a link that keeps up is never made to wait', () => {
  test.each([
    ['of 100 Mbit/s', 12_500, 0.1, 50],
    ['of 400 kbit/s', 50, 5, 50],
    ['of 400 kbit/s with 100 tokens a second', 50, 5, 100],
    ['that takes 50 ms each way', 12_500, 50, 50],
    ['that takes 300 ms each way', 12_500, 300, 100],
  ])('%s', (_what, bytesPerMs, delayMs, tps) => {
    const { held, slowdowns } = run(new Link(bytesPerMs, delayMs), { seconds: 30, tps });
    expect({ held, slowdowns }).toEqual({ held: 0, slowdowns: 0 });
  });
});

describe('a link that is slow gets as much as it takes', () => {
  test.each([
    ['50 kbit/s', 6.25, 20, 40, 1.03, 500, 0.27],
    ['50 kbit/s and 300 ms each way', 6.25, 300, 40, 1.05, 2000, 0.27],
    ['10 kbit/s', 1.25, 20, 20, 1.25, 5000, 0.1],
  ])('%s', (_what, bytesPerMs, delayMs, seconds, mostLast, mostAgeMs, mostBytes) => {
    const { ages, bytes, lastMs } = run(new Link(bytesPerMs, delayMs), { seconds, tps: 50 });
    expect(lastMs / 1000 / seconds).toBeLessThan(mostLast);
    expect(ages[Math.floor(ages.length * 0.99)]).toBeLessThan(mostAgeMs);
    expect(bytes / (seconds * 50 * 255)).toBeLessThan(mostBytes);
  });

  test('and is found to be fast again when it is', () => {
    const link = new Link(6.25, 20);
    let heldBefore = 0;
    const { held } = run(link, {
      seconds: 60,
      tps: 50,
      onMs: (nowMs) => {
        if (nowMs === 20_000) link.bytesPerMs = 12_500;
        if (nowMs === 40_000) heldBefore = link.written;
      },
    });
    expect(held).toBeGreaterThan(50);
    // In the last third every event went by itself.
    expect(link.written - heldBefore).toBe(20 * 50 * 255);
  });
});

test('a connection of which nothing is known is not made to wait', () => {
  const pace = new Pace(() => undefined);
  for (let nowMs = 0; nowMs < 10_000; nowMs += 20) {
    expect(pace.delayMs(nowMs)).toBe(0);
    pace.wrote(nowMs, nowMs);
  }
});
