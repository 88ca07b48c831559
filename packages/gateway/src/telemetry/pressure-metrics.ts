import type { Meter as Instruments } from '@opentelemetry/api';
import { Figures } from '@spillway/server/telemetry/figures';
import type { Pressure } from '../pressure/pressure.ts';

/** What is read of the pressure. */
export type MeteredPressure = Pick<Pressure, 'asked' | 'counts' | 'isConfigured' | 'level'>;

/** Defines the figures of pressure. Without a rule of what gives way there are none. */
export function definePressureMetrics(instruments: Instruments, pressure: MeteredPressure): void {
  const figures = new Figures(instruments);
  figures.gauge(
    'spillway.pressure.level',
    '',
    'How much gives way to pressure: 0 is nothing, 3 the most',
    (result) => {
      if (pressure.isConfigured) result.observe(pressure.level);
    },
  );
  figures.gauge(
    'spillway.pressure.asked',
    '',
    'The level that a cause of pressure asks for by itself at the moment',
    (result) => {
      if (!pressure.isConfigured) return;
      for (const [cause, level] of Object.entries(pressure.asked)) result.observe(level, { cause });
    },
  );
  figures.counter(
    'spillway.gave_way',
    '{request}',
    'Requests of which something gave way to pressure, by what it was',
    (result) => {
      if (!pressure.isConfigured) return;
      for (const [what, count] of Object.entries(pressure.counts)) result.observe(count, { what });
    },
  );
}
