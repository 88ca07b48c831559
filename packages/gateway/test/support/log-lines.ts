import { type RunningGateway } from './processes.ts';
import { eventually } from './spawn.ts';

/** A line of the program's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** The lines of a gateway's log so far that have one of these messages. */
export function linesOf({ stderr }: Pick<RunningGateway, 'stderr'>, ...messages: string[]): LogLine[] {
  return stderr()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine)
    .filter(({ msg }) => messages.includes(String(msg)));
}

/** Waits for a line with that message and these fields. */
export function lineWith(
  gateway: Pick<RunningGateway, 'stderr'>,
  message: string,
  fields: LogLine,
): Promise<LogLine> {
  const fits = (line: LogLine): boolean =>
    Object.entries(fields).every(([name, value]) => line[name] === value);
  return eventually(() => linesOf(gateway, message).find(fits), `${message} ${JSON.stringify(fields)}`);
}
