import type { Counts } from './attackers-process.ts';
import type { GatewayState } from './gateway-state.ts';
import type { HonestReport } from './honest-streams.ts';
import type { Observed } from './observation.ts';

/** Everything that was found in a siege. */
export interface SiegeRecord {
  readonly calm: HonestReport;
  readonly calmly: Observed;
  readonly before: GatewayState;
  readonly honest: HonestReport;
  readonly observed: Observed;
  readonly attacked: Counts;
  /** Why the attackers ended before they were told to; `undefined`: they did not. */
  readonly assault: string | undefined;
  /** From the end of the attack until a stranger's new connection was answered; infinite if none was for 30 s. */
  readonly servedAgainMs: number;
  /** `undefined` if the gateway did not say. */
  readonly settled: GatewayState | undefined;
  /** How long that took; the bound, if it never was as before. */
  readonly settledMs: number;
  readonly exit: string | undefined;
}
