/**
 * What is counted on the path of a chunk: plain numbers, which the metrics read when somebody asks.
 */
export class Meter {
  eventsIn = 0;
  bytesIn = 0;
  eventsOut = 0;
  bytesOut = 0;
  /** How often a provider was made to wait. */
  stalls = 0;
  retries = 0;

  received(events: number, bytes: number): void {
    this.eventsIn += events;
    this.bytesIn += bytes;
  }

  sent(events: number, bytes: number): void {
    this.eventsOut += events;
    this.bytesOut += bytes;
  }
}
