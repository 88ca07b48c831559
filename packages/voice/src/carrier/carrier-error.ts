/**
 * Why a carrier's connection is no leg.
 *
 * - `carrier_refused`: it sent what is not allowed, or not in time; the socket was closed with a code that says so.
 * - `carrier_lost`: it was closed before it had said which call it is.
 */
export type CarrierErrorCode = 'carrier_lost' | 'carrier_refused';
