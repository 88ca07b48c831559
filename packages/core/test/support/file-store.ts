import { Buffer } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { createMemoryStore, type Store, type StoredChunk } from '../../src/index.ts';

/** Where a record lies in the file. */
interface Place {
  readonly at: number;
  readonly length: number;
}

/** A store whose chunks are in a file, as bytes. What is in memory is where they lie. */
export class FileStore<T> implements Store<T> {
  readonly #path: string;
  readonly #encode: (chunk: T) => Uint8Array;
  readonly #decode: (bytes: Uint8Array) => T;
  /** The rules of offsets and limits are those of a store in memory. */
  readonly #places = createMemoryStore<Place>({ maxBytes: 100_000_000 });
  #file: Promise<FileHandle> | undefined;
  #end = 0;

  constructor(path: string, encode: (chunk: T) => Uint8Array, decode: (bytes: Uint8Array) => T) {
    this.#path = path;
    this.#encode = encode;
    this.#decode = decode;
  }

  async append(chunks: readonly StoredChunk<T>[]): Promise<void> {
    const records = chunks.map(({ chunk }) => this.#encode(chunk));
    const placed = chunks.map((stored, index) => {
      const length = records[index]?.length ?? 0;
      this.#end += length;
      return { ...stored, chunk: { at: this.#end - length, length } };
    });
    const start = placed[0]?.chunk.at;
    if (start !== undefined) {
      const all = Buffer.concat(records);
      const file = await (this.#file ??= open(this.#path, 'w+'));
      await file.write(all, 0, all.length, start);
    }
    await this.#places.append(placed);
  }

  async read(from: number, limits?: { maxBytes?: number; maxItems?: number }): Promise<StoredChunk<T>[]> {
    const placed = await this.#places.read(from, limits);
    const file = await this.#file;
    return Promise.all(
      placed.map(async (stored) => {
        const { at, length } = stored.chunk;
        const bytes = new Uint8Array(length);
        if (length > 0) await file?.read(bytes, 0, length, at);
        return { ...stored, chunk: this.#decode(bytes) };
      }),
    );
  }

  async trim(before: number): Promise<void> {
    await this.#places.trim(before);
  }

  async seal(): Promise<void> {
    await this.#places.seal();
  }

  /** Lets go of the file. */
  async close(): Promise<void> {
    const file = await this.#file;
    await file?.close();
  }
}
