import { execFileSync } from 'node:child_process';

/** A machine behind a slow link, on this machine. */
export interface SlowNetwork {
  /** Where this machine is, seen from there. */
  readonly address: string;
  /** The command that runs another one there. */
  readonly inside: readonly [string, ...string[]];
  /** Passes nothing on, or again, without a word to either side. */
  cut(isCut: boolean): void;
  close(): void;
}

/**
 * Joins a network namespace to this machine by a router, which passes on so many bits a second each way and
 * keeps a second of them (`tbf`). The router matters: a bottleneck at this machine's own interface would be seen
 * by its kernel, as no modem is. Needs Linux, root and iproute2. Several at once need different indices, 0 to 99.
 *
 * @throws when it cannot be made.
 */
export function openSlowNetwork(bitsPerSecond: number, index = 0): SlowNetwork {
  // The name of an interface has at most 15 characters.
  const name = `slow${process.pid}n${index}`;
  const [router, client] = [`${name}r`, `${name}c`];
  const [near, far] = [`10.197.${2 * index}`, `10.197.${2 * index + 1}`];
  const ip = (command: string): void => {
    execFileSync('ip', command.split(' '), { stdio: 'pipe' });
  };
  const shape = (namespace: string, device: string): void =>
    ip(
      `netns exec ${namespace} tc qdisc add dev ${device} root tbf rate ${bitsPerSecond}bit burst 1600 latency 1000ms`,
    );
  const close = (): void => {
    for (const namespace of [router, client]) {
      try {
        ip(`netns del ${namespace}`);
      } catch {
        // It was not made.
      }
    }
  };
  try {
    ip(`netns add ${router}`);
    ip(`netns add ${client}`);
    ip(`netns exec ${router} sysctl -qw net.ipv4.ip_forward=1`);
    ip(`link add ${name}v type veth peer name near netns ${router}`);
    ip(`-n ${router} link add far type veth peer name eth0 netns ${client}`);
    ip(`addr add ${near}.1/24 dev ${name}v`);
    ip(`-n ${router} addr add ${near}.2/24 dev near`);
    ip(`-n ${router} addr add ${far}.2/24 dev far`);
    ip(`-n ${client} addr add ${far}.1/24 dev eth0`);
    // One segment at a time: a burst of 64 KiB would never fit through.
    ip(`link set ${name}v gso_max_segs 1 up`);
    ip(`-n ${router} link set near gso_max_segs 1 up`);
    ip(`-n ${router} link set far gso_max_segs 1 up`);
    ip(`-n ${client} link set eth0 gso_max_segs 1 up`);
    ip(`route add ${far}.0/24 via ${near}.2`);
    ip(`-n ${client} route add default via ${far}.2`);
    shape(router, 'far');
    shape(client, 'eth0');
  } catch (error) {
    close();
    throw error;
  }
  return {
    address: `${near}.1`,
    inside: ['ip', 'netns', 'exec', client],
    cut: (isCut) => ip(`netns exec ${router} sysctl -qw net.ipv4.ip_forward=${isCut ? 0 : 1}`),
    close,
  };
}
