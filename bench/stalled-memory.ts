import { memoryOf, openStream, type Program, startGateway, startSimulator, statsOf } from './programs.ts';

const MiB = 1024 * 1024;
const windowBytes = 65_536;

// 20 kB of text a token, 800 of them: 16 MB.
const model = 'sim:tps=0,ttft=0,tokens=800,size=20000';

/** The gateway's memory with readers that never read, each with 16 MB to come (promise 1). */
export async function stalledMemory(): Promise<void> {
  for (const readers of [200, 1000]) {
    const simulator = await startSimulator();
    const gateway = await startGateway(simulator.url);
    const warm = await Promise.all(Array.from({ length: 20 }, () => openStream(gateway.url, model)));
    await Promise.all(warm.map(({ done }) => done));
    for (const { socket } of warm) socket.destroy();
    const before = memoryOf(gateway);
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, memoryOf(gateway))), 20);
    const clients = await Promise.all(
      Array.from({ length: readers }, () => openStream(gateway.url, model, false)),
    );
    await quiet(simulator, readers);
    clearInterval(watch);
    const bound = 32 * MiB + readers * (windowBytes + 128 * 1024);
    const fromUpstream = (await statsOf(simulator))
      .slice(-readers)
      .reduce((sum, { bytes }) => sum + bytes, 0);
    const megabytes = (bytes: number): string => (bytes / MiB).toFixed(0);
    console.log(
      `${readers} stalled readers: grew by ${megabytes(memoryOf(gateway) - before)} MiB (peak ${megabytes(peak - before)}), ` +
        `${((memoryOf(gateway) - before) / readers / 1024).toFixed(0)} KiB a reader, the promise allows ${megabytes(bound)} MiB; ` +
        `${(fromUpstream / readers / MiB).toFixed(1)} MiB a reader were taken from the upstream, the rest of what ` +
        `is in the kernel's buffers, of 16 MB`,
    );
    for (const { socket } of clients) socket.destroy();
    gateway.command.process.kill('SIGKILL');
    simulator.command.process.kill('SIGKILL');
  }
}

/** Waits until the provider has written nothing for five seconds. */
async function quiet(simulator: Program, readers: number): Promise<void> {
  let before = -1;
  for (let now = 0; now !== before; now = await writtenBy(simulator, readers)) {
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 5000));
  }
}

async function writtenBy(simulator: Program, readers: number): Promise<number> {
  return (await statsOf(simulator)).slice(-readers).reduce((sum, { bytes }) => sum + bytes, 0);
}
