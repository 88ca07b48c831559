import {
  cpuSecondsOf,
  openStream,
  type Program,
  quantile,
  startGateway,
  startPipe,
  startSimulator,
} from './programs.ts';

const rounds = 5;

const workloads = [
  {
    name: '50 streams, as fast as they go, one event a write',
    streams: 50,
    tokens: 2000,
    model: 'sim:tps=0,ttft=0',
  },
  {
    name: '50 streams, as fast as they go, 32 events a write',
    streams: 50,
    tokens: 20_000,
    model: 'sim:tps=0,ttft=0,batch=32',
  },
  { name: '200 streams of 50 tokens/s', streams: 200, tokens: 250, model: 'sim:tps=50,ttft=0' },
];

/** CPU per token of the gateway and of a bare Node pipe, in turn, and the ratio round by round. */
export async function cpuPerToken(): Promise<void> {
  const simulator = await startSimulator();
  const gateway = await startGateway(simulator.url);
  const pipe = await startPipe(simulator.url);
  for (const { model, name, streams, tokens } of workloads) {
    const run = (program: Program): Promise<number> =>
      microsecondsPerToken(program, `${model},tokens=${tokens}`, streams, tokens);
    await run(gateway);
    await run(pipe);
    const gatewayUs: number[] = [];
    const pipeUs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      gatewayUs.push(await run(gateway));
      pipeUs.push(await run(pipe));
    }
    const ratios = gatewayUs.map((value, index) => value / (pipeUs[index] ?? Number.NaN));
    const ratio = [quantile(ratios, 0), quantile(ratios, 0.5), quantile(ratios, 1)].map((value) =>
      value.toFixed(2),
    );
    console.log(
      `${name}: gateway ${quantile(gatewayUs, 0.5).toFixed(1)} µs, pipe ${quantile(pipeUs, 0.5).toFixed(1)} µs a token, ` +
        `ratio ${ratio[1]} (${ratio[0]} to ${ratio[2]}, ${rounds} rounds)`,
    );
  }
}

async function microsecondsPerToken(
  program: Program,
  model: string,
  streams: number,
  tokens: number,
): Promise<number> {
  const before = cpuSecondsOf(program);
  const clients = await Promise.all(Array.from({ length: streams }, () => openStream(program.url, model)));
  await Promise.all(clients.map(({ done }) => done));
  for (const { socket } of clients) socket.destroy();
  return ((cpuSecondsOf(program) - before) * 1e6) / (streams * tokens);
}
