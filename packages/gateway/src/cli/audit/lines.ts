import { once } from 'node:events';
import { exitCodes } from '../exit-codes.ts';
import { fail } from './audit-source.ts';

/** Standard output, line by line, as fast as its reader takes it. A reader that has enough ends the process quietly. */
export class Lines {
  constructor() {
    process.stdout.once('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'EPIPE') process.exit(exitCodes.done);
      fail(exitCodes.failed, `standard output: ${message}`);
    });
  }

  async write(line: string): Promise<void> {
    if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain');
  }
}
