import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Settings } from '../../config/load.ts';
import { descriptorShortage, readDescriptors } from '../../memory/descriptors.ts';
import type { Finding } from './finding.ts';

/** How many connections Node lets the kernel hold until they are accepted. */
const backlog = 511;

/** Whether the gateway could listen at its ports. */
export async function checkPorts({ config }: Settings): Promise<Finding[]> {
  const { adminHost, adminPort, host, port } = config;
  return [
    await checkPort('port', host, port, '--port'),
    await checkPort('admin port', adminHost, adminPort, '--admin-port'),
  ];
}

function checkPort(check: string, host: string, port: number, flag: string): Promise<Finding> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const isUsed = error.code === 'EADDRINUSE';
      const remedy = `choose another with ${flag}, unless it is the gateway itself that runs already`;
      const message = isUsed
        ? `${host}:${port} is in use: ${remedy}.`
        : `It cannot be listened on: ${error.message}.`;
      resolve({ check, status: 'fail', message });
    });
    server.listen({ host, port }, () => {
      const where = port === 0 ? `a free port of ${host}` : `${host}:${port}`;
      server.close(() => resolve({ check, status: 'ok', message: `${where} is free.` }));
    });
  });
}

/** Whether this process may open as many files as the settings need. */
export function checkDescriptors({ config, providers }: Settings): Finding {
  const check = 'open files';
  const descriptors = readDescriptors();
  if (descriptors === undefined) {
    return { check, status: 'ok', message: 'This system does not tell a limit.' };
  }
  const shortage = descriptorShortage(config, descriptors, providers.length === 0 ? 2 : 1);
  return shortage === undefined
    ? { check, status: 'ok', message: `The limit of ${descriptors.limit} is enough.` }
    : { check, status: 'warn', message: `${shortage.message}.` };
}

/** Whether the kernel holds as many new connections as Node asks for. `undefined`: it does not say. */
export function checkBacklog(path = '/proc/sys/net/core/somaxconn'): Finding | undefined {
  const check = 'net.core.somaxconn';
  let most: number;
  try {
    most = Number(readFileSync(path, 'utf8'));
  } catch {
    // Another system than Linux has no such file.
    return undefined;
  }
  if (most >= backlog) return { check, status: 'ok', message: `${most} is enough.` };
  const message = `It is ${most}: bursts of more connections lose some. Set it to 512 or more (sysctl -w net.core.somaxconn=512).`;
  return { check, status: 'warn', message };
}
