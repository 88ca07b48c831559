import type { Socket } from 'node:net';
import type { Links } from './link.ts';
import { Pace } from './pace.ts';

/** The pace of every connection, also from one response to the next. */
export class Paces {
  readonly #links: Links;
  readonly #paces = new WeakMap<Socket, Pace>();

  constructor(links: Links) {
    this.#links = links;
  }

  /** Where the state of connections comes from. */
  get links(): Links['name'] {
    return this.#links.name;
  }

  of(socket: Socket): Pace {
    let pace = this.#paces.get(socket);
    if (pace === undefined) {
      pace = new Pace(this.#links.watch(socket));
      this.#paces.set(socket, pace);
    }
    return pace;
  }
}
