import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { memoryOf } from '../bench/programs.ts';
import { busyUsOf, cpuUsOf } from '../bench/usage.ts';
import { descriptorsOf } from './gateway-state.ts';
import type { SmallGateway } from './small-gateway.ts';

const everyMs = 250;
const tickMs = 20;
const shareEveryMs = 1000;
const cores = Array.from({ length: availableParallelism() }, (_, core) => core);
const probeTimeoutMs = 2000;

/** What was seen of the gateway's process while it was under load. */
export interface Observed {
  readonly maxRssBytes: number;
  readonly maxDescriptors: number;
  /** Its time on its core as a part of all time. */
  readonly cpuRatio: number;
  /** The longest time in which no stranger's new connection was answered. */
  readonly longestOutageMs: number;
  /** How late this process itself was at most, with what it had to do: nobody in it can have been served sooner. */
  readonly loadLateMs: number;
  /** What programs that are no part of this used of all cores. */
  readonly othersRatio: number;
}

/** Watches a gateway's process from outside. */
export class Observation {
  readonly #target: SmallGateway;
  readonly #startedMs = performance.now();
  readonly #startedCpuUs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #clock: NodeJS.Timeout;
  #cpuUs: number;
  #maxRssBytes = 0;
  #maxDescriptors = 0;
  #answeredMs = performance.now();
  #longestOutageMs = 0;
  #isProbing = false;
  #tickedMs = performance.now();
  #loadLateMs = 0;
  readonly #shareTimer: NodeJS.Timeout;
  #share = shareNow();
  #othersUs = 0;
  #sharedUs = 0;

  constructor(target: SmallGateway) {
    this.#target = target;
    this.#cpuUs = cpuUsOf(target.pid);
    this.#startedCpuUs = this.#cpuUs;
    this.#timer = setInterval(() => this.#look(), everyMs);
    this.#clock = setInterval(() => this.#tick(), tickMs);
    this.#shareTimer = setInterval(() => this.#noteShare(), shareEveryMs);
  }

  stop(): Observed {
    clearInterval(this.#timer);
    clearInterval(this.#clock);
    clearInterval(this.#shareTimer);
    this.#noteOutage();
    const elapsedUs = (performance.now() - this.#startedMs) * 1000;
    return {
      maxRssBytes: this.#maxRssBytes,
      maxDescriptors: this.#maxDescriptors,
      cpuRatio: (this.#cpuUs - this.#startedCpuUs) / elapsedUs,
      longestOutageMs: this.#longestOutageMs,
      loadLateMs: this.#loadLateMs,
      othersRatio: this.#sharedUs === 0 ? 0 : this.#othersUs / this.#sharedUs,
    };
  }

  #tick(): void {
    const nowMs = performance.now();
    this.#loadLateMs = Math.max(this.#loadLateMs, nowMs - this.#tickedMs - tickMs);
    this.#tickedMs = nowMs;
  }

  #noteShare(): void {
    const before = this.#share;
    const now = shareNow();
    this.#share = now;
    const ownUs = now.ownUs - before.ownUs;
    // A process of ours has ended, and what it used is not known any more.
    if (ownUs < 0) return;
    this.#othersUs += Math.max(0, now.busyUs - before.busyUs - ownUs);
    this.#sharedUs += (now.atMs - before.atMs) * 1000 * cores.length;
  }

  #look(): void {
    if (this.#target.exit() !== undefined) return;
    try {
      // It is no number once the process is about to be gone.
      this.#maxRssBytes = Math.max(this.#maxRssBytes, memoryOf(this.#target.gateway) || 0);
      this.#maxDescriptors = Math.max(this.#maxDescriptors, descriptorsOf(this.#target.pid));
      this.#cpuUs = cpuUsOf(this.#target.pid);
    } catch {
      // It has just ended.
    }
    if (this.#isProbing) return;
    void this.#probe();
  }

  async #probe(): Promise<void> {
    this.#isProbing = true;
    const isAlive = await isAnswered(this.#target.gateway.url);
    this.#isProbing = false;
    if (!isAlive) return;
    this.#noteOutage();
    this.#answeredMs = performance.now();
  }

  #noteOutage(): void {
    this.#longestOutageMs = Math.max(this.#longestOutageMs, performance.now() - this.#answeredMs);
  }
}

/** What all cores have worked, and what this process and its children have of it. */
function shareNow(): { readonly atMs: number; readonly busyUs: number; readonly ownUs: number } {
  return { atMs: performance.now(), busyUs: busyUsOf(cores), ownUs: cpuUsOf(process.pid) };
}

/** Whether a stranger's health check is answered over a new connection, within 2 s. */
export function isAnswered(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const { host, hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    const settle = (isAlive: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isAlive);
    };
    const timer = setTimeout(() => settle(false), probeTimeoutMs);
    socket.once('data', (bytes: Buffer) => settle(bytes.toString('latin1').startsWith('HTTP/1.1 200')));
    socket.once('error', () => settle(false)).once('close', () => settle(false));
    socket.once('connect', () => {
      socket.write(`GET /health/live HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    });
  });
}
