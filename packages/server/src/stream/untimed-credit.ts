import type { Credit, CreditAmount } from '@spillway/core';

/** Credit for chunks that take no time to play: its milliseconds do not bound them. */
export function untimed(credit: Credit): Credit {
  if (credit.max.ms === Infinity) return credit;
  const withoutMs = (amount: Required<CreditAmount>): Required<CreditAmount> => ({ ...amount, ms: Infinity });
  return {
    get available() {
      return withoutMs(credit.available);
    },
    get max() {
      return withoutMs(credit.max);
    },
    grant: (amount) => credit.grant(amount),
    allows: (items, bytes) => credit.allows(items, bytes),
    spend: (items, bytes) => credit.spend(items, bytes),
    onGrant: (listener) => credit.onGrant(listener),
    close: () => credit.close(),
  };
}
