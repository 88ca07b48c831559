/** How long something keeps the processor, in milliseconds: others who are busy do not count. */
export function processorMs(work: () => void): number {
  const from = process.threadCpuUsage();
  work();
  const { system, user } = process.threadCpuUsage(from);
  return (system + user) / 1000;
}
