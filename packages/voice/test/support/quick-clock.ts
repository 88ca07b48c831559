import { type Clock, systemClock } from '@spillway/core/clock';

/** The system's clock, so many times as fast: what lasts a minute lasts some seconds, over real sockets. */
export function quickClock(times: number): Clock {
  return {
    nowMs: () => systemClock.nowMs() * times,
    after: (ms, callback) => systemClock.after(ms / times, callback),
    random: () => systemClock.random(),
    randomBytes: (count) => systemClock.randomBytes(count),
  };
}
