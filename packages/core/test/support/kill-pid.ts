/**
 * Sends a signal to the process whose number a text has, as a file or another program gave it.
 *
 * @throws {RangeError} for a text without such a number: `Number('')` is 0, which means this process and all of its group.
 */
export function killPid(text: string, signal: NodeJS.Signals = 'SIGTERM'): void {
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid <= 1) {
    throw new RangeError(`expected the number of a process, got ${JSON.stringify(text)}`);
  }
  process.kill(pid, signal);
}
