import { onTestFinished, vi } from 'vitest';

const now = performance.now.bind(performance);
let passedMs = 0;

/** Lets that time pass for whoever looks at the clock, until the test is over. Timers do not notice. */
export function passTime(ms: number): void {
  passedMs += ms;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => now() + passedMs);
  onTestFinished(() => {
    passedMs = 0;
    spy.mockRestore();
  });
}
