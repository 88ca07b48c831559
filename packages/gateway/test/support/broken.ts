/**
 * Loaded into a gateway's process with `--import`: a build with defects. A stream has one whose client calls itself after it, as
 * `broken-tick`; the console's samples have one, always; SIGUSR2 throws and SIGWINCH rejects where nothing contains it.
 */
import { History } from '@spillway/server/console/history';
import { Session } from '@spillway/server/session/session';
import { GatewayStream } from '@spillway/server/stream/stream';

type Method = (...args: never[]) => unknown;

function breakMethod<Host extends object>(
  host: Host,
  name: keyof Host,
  isBroken: (self: Host) => boolean,
): void {
  const works = host[name] as Method;
  host[name] = function broken(this: Host, ...args: never[]): unknown {
    if (isBroken(this)) throw new TypeError(`${String(name)} is broken`);
    return works.apply(this, args);
  } as Host[keyof Host];
}

for (const name of ['tick', 'checkReaders', 'received', 'sent', 'start', 'ended', 'detached'] as const) {
  breakMethod(GatewayStream.prototype, name, ({ client }) => client.agent === `broken-${name}`);
}
breakMethod(Session.prototype, 'tick', ({ agent }) => agent === 'broken-tick');
breakMethod(Session.prototype, 'take', ({ agent }) => agent === 'broken-take');
breakMethod(History.prototype, 'sample', () => true);

process.on('SIGUSR2', () =>
  setTimeout(() => {
    throw new Error('nobody contains this, nor "what somebody wrote here"');
  }, 0),
);
process.on('SIGWINCH', () => void Promise.reject(new Error('nobody handles this')));
