import type { Meter as Instruments } from '@opentelemetry/api';
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { Figures } from '@spillway/server/telemetry/figures';
import { type LoopDelayMs, physicalBytes } from '@spillway/server/time/loop-delay';

/** Defines the figures of the process, with OpenTelemetry's names for processes and for Node. */
export function defineProcessFigures(instruments: Instruments, loopDelayMs: () => LoopDelayMs): void {
  const figures = new Figures(instruments);
  figures.gauge('process.memory.usage', 'By', 'Physical memory of the process', (result) =>
    result.observe(physicalBytes()),
  );
  figures.gauge('v8js.memory.heap.used', 'By', 'JavaScript objects', (result) =>
    result.observe(getHeapStatistics().used_heap_size),
  );
  figures.gauge('process.uptime', 's', 'Since the process started', (result) =>
    result.observe(process.uptime()),
  );
  figures.counter('process.cpu.time', 's', 'CPU that the process used', (result) => {
    const { system, user } = process.cpuUsage();
    result.observe(user / 1e6, { 'cpu.mode': 'user' });
    result.observe(system / 1e6, { 'cpu.mode': 'system' });
  });
  figures.counter('nodejs.eventloop.time', 's', 'What the event loop did with its time', (result) => {
    const { active, idle } = performance.eventLoopUtilization();
    result.observe(active / 1000, { 'nodejs.eventloop.state': 'active' });
    result.observe(idle / 1000, { 'nodejs.eventloop.state': 'idle' });
  });
  for (const quantile of ['p50', 'p99', 'max'] as const) {
    figures.gauge(
      `nodejs.eventloop.delay.${quantile}`,
      's',
      'Delay of the event loop, in the worst second of the last minute',
      (result) => result.observe(loopDelayMs()[quantile] / 1000),
    );
  }
}
