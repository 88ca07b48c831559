import type { LimitSettings, ScopeLimits } from '../config/limits.ts';
import { openScope, type Scope } from './scope.ts';

/** A store that is spread over machines keeps names together that have the same text in braces: so much of a tenant's name. */
const maxTagLength = 32;

/**
 * How the keys of quotas begin in the store, and the names of leases, of which a store takes 64 characters (`tag`): those of
 * one tenant share what stands in braces. No tenant is called `-`, and none has a `/` in its name.
 */
export const scopeIds = {
  tag: (tenant: string): string => `{${tenant === '' ? '-' : tenant.slice(0, maxTagLength)}}`,
  tenant: (tenant: string): string =>
    `${scopeIds.tag(tenant)}${tenant.length > maxTagLength ? `${tenant.slice(maxTagLength)}/` : ''}`,
  key: (tenant: string, key: string): string => `${scopeIds.tenant(tenant)}key:${key}:`,
};

/** The scopes of a tenant, and of one of its keys, or of all that have limits. */
export function configuredScopes(settings: LimitSettings, tenant: string, key: string | undefined): Scope[] {
  const { others, tenants } = settings;
  const scopes: (Scope | undefined)[] = [];
  const limits: ScopeLimits | undefined = tenants.get(tenant) ?? others;
  if (limits !== undefined) scopes.push(openScope('tenant', tenant, scopeIds.tenant(tenant), limits));
  for (const [name, own] of keysOf(settings, tenant, key))
    scopes.push(openScope('key', name, scopeIds.key(tenant, name), own));
  return scopes.filter((scope) => scope !== undefined);
}

/** One key of a tenant, or all of them, as far as they have limits of their own. */
export function keysOf(
  { keys }: LimitSettings,
  tenant: string,
  key: string | undefined,
): (readonly [string, ScopeLimits])[] {
  return [...keys].filter(([name]) => (key === undefined ? tenantOf(name) === tenant : name === key));
}

/** The tenants that somebody has given limits to, whether they ask or not. */
export function limitedTenants({ callers, keys, others, tenants }: LimitSettings): string[] {
  return [...tenants.keys(), ...[...keys.keys()].map(tenantOf), ...(others === undefined ? [] : callers)];
}

/** The tenant of a key's name (`TENANT/NAME`, or the same name for both). */
function tenantOf(key: string): string {
  return key.split('/', 1)[0] ?? key;
}
