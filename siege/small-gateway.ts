import { fileURLToPath } from 'node:url';
import { place } from '../bench/placement.ts';
import { listening, type Program, startGateway, startSimulator, stopAll } from '../bench/programs.ts';
import { spawnNode } from '../packages/gateway/test/support/spawn.ts';
import { openCgroup } from './cgroup.ts';

const heapMegabytes = 256;
const maxDescriptors = 512;
const cgroupBytes = 512 * 1024 * 1024;

/** Whoever streams honestly has one of these keys of the gateway's, an attacker with a key the third. */
export const keys = { honest: ['honest-one', 'honest-two'], attacker: 'attacker-one' } as const;

/**
 * Few places, so that connections, streams and providers' connections together can use up the descriptors (2 × (200 + 50)
 * + 200 > 512), and short times, so that what an attacker leaves behind is due to be gone seconds later.
 */
const gatewayArgs = [
  '--max-streams 200 --max-waiting 50 --wait-timeout-ms 2000',
  '--max-request-memory-bytes 67108864 --max-retained-bytes 67108864',
  '--retain-ms 1000 --detach-grace-ms 2000 --stall-timeout-ms 3000 --keep-alive-ms 2000',
  '--request-timeout-ms 3000 --connect-timeout-ms 2000 --response-timeout-ms 5000 --idle-timeout-ms 5000',
  '--log-level error',
].flatMap((line) => line.split(' '));

/** A small gateway in front of a provider that answers and one that is hostile. */
export interface SmallGateway {
  readonly gateway: Program;
  readonly pid: number;
  /** What bounds it, for whoever reads the figures. */
  readonly description: string;
  /** How its process ended; `undefined` while it is the one that was started. */
  readonly exit: () => string | undefined;
  readonly stop: () => Promise<void>;
}

/** Starts all three. The gateway has one core for itself, everything else shares another. */
export async function startSmallGateway(): Promise<SmallGateway> {
  const placement = place();
  const cgroup = process.platform === 'linux' ? openCgroup(cgroupBytes) : undefined;
  const enter = cgroup === undefined ? '' : `echo $$ > ${cgroup.processesFile}; `;
  const prefix = ['sh', '-c', `${enter}ulimit -n ${maxDescriptors}; exec "$@"`, 'sh', ...placement.system];
  const stop = async (): Promise<void> => {
    await stopAll();
    cgroup?.remove();
  };
  try {
    const simulator = await startSimulator();
    const evil = await listening(
      spawnNode(fileURLToPath(new URL('evil-provider.ts', import.meta.url)), [], {
        prefix: ['nice', '-n', '19'],
      }),
    );
    const upstreams = `name=evil,url=${evil.url}/v1 name=evil,api=gemini,url=${evil.url}`;
    const gateway = await startGateway(simulator.url, ['--upstream', upstreams, ...gatewayArgs], {
      prefix,
      // The inspector, on a free port of loopback: it collects garbage when it is asked to, and counts what is open.
      nodeArgs: [`--max-old-space-size=${heapMegabytes}`, '--inspect=127.0.0.1:0'],
      env: { SPILLWAY_API_KEYS: [...keys.honest, keys.attacker].join(',') },
    });
    const child = gateway.command.process;
    return {
      gateway,
      pid: child.pid ?? Number.NaN,
      description:
        `${heapMegabytes} MB of heap, ${maxDescriptors} descriptors, ` +
        (cgroup === undefined
          ? 'no cgroup, as none can be made here'
          : `a cgroup of ${cgroupBytes / 1024 / 1024} MiB`) +
        `; the gateway ${placement.description}`,
      exit: () => {
        if (child.exitCode === null && child.signalCode === null) return undefined;
        if ((cgroup?.outOfMemoryKills() ?? 0) > 0) return 'ended by the kernel: out of memory in its cgroup';
        if (/heap out of memory/.test(gateway.command.stderr())) return 'ended: out of heap';
        return `ended with ${child.signalCode ?? child.exitCode}: ${lastLines(gateway.command.stderr())}`;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function lastLines(text: string): string {
  return text.trim().slice(-400);
}
