import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { publicInterface } from '../public-interface.ts';

const shop = `
/** Opens it. */
export declare function open(): Shop;
export declare function open(name: string): Shop;
/** A shop. */
export interface Shop {
    /** What it is called. */
    readonly name: string;
    readonly size: number;
    /** Sells. */
    sell(): void;
    close(): void;
}
export declare class Till {
    #private;
    private count;
    /** What is in it. */
    get cents(): number;
}
export type Unnamed = string;
`;

test('the public interface is what an entry point names, and says what has no comment', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-interface-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  write('package.json', JSON.stringify({ name: 'shop', exports: { '.': { types: './index.d.ts' } } }));
  write('index.d.ts', "export { open, type Shop, Till } from './shop.ts';\n");
  write('shop.d.ts', shop);
  const { text, undocumented } = publicInterface(folder);
  expect(undocumented).toEqual(['Shop.size', 'Shop.close', 'Till']);
  expect(text).toBe(`# shop

export interface Shop {
    readonly name: string;
    readonly size: number;
    sell(): void;
    close(): void;
}

export declare class Till {
    get cents(): number;
}

export declare function open(): Shop;

export declare function open(name: string): Shop;
`);
});
