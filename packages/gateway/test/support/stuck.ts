/** A program that ends with code 7 while a thread of Node's pool writes to a pipe, its argument, that nobody reads. */
import { openSync, write } from 'node:fs';
import { endProcess } from '../../src/process/end-process.ts';

write(openSync(process.argv[2] ?? '', 'r+'), Buffer.alloc(1_048_576), () => undefined);
setTimeout(() => void endProcess(7, []), 100);
