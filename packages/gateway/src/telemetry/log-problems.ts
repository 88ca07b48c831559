import { diag, DiagLogLevel } from '@opentelemetry/api';
import type { Logger } from 'pino';

/** Logs OpenTelemetry's own problems, such as an unreachable collector. */
export function logTelemetryProblems(log: Pick<Logger, 'warn'>): void {
  const warn = (message: string): void => log.warn({ reason: message }, 'telemetry');
  const silent = (): void => undefined;
  const logger = { error: warn, warn, info: silent, debug: silent, verbose: silent };
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
}
