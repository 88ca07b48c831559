import type { Socket } from 'node:net';
import type { Links } from './link.ts';
import { Pace } from './pace.ts';

/** The paces of all connections. A connection keeps its pace from one response to the next. */
export class Paces {
  readonly #links: Links;
  readonly #paces = new WeakMap<Socket, Pace>();

  constructor(links: Links) {
    this.#links = links;
  }

  /** The source of the states of connections. */
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
