import type { LimitSettings, ScopeLimits } from '../config/limits.ts';
import { openScope, type Scope } from './scope.ts';

/** How the keys of quotas begin in the store. Those of one tenant share what stands in braces. No tenant is called `-`. */
export const scopeIds = {
  tenant: (tenant: string): string => `{${tenant === '' ? '-' : tenant}}`,
  key: (tenant: string, key: string): string => `${scopeIds.tenant(tenant)}key:${key}:`,
};

/** The scopes of a tenant, and of one of its keys, or of all that have limits. */
export function configuredScopes(
  { keys, others, tenants }: LimitSettings,
  tenant: string,
  key: string | undefined,
): Scope[] {
  const scopes: (Scope | undefined)[] = [];
  const limits: ScopeLimits | undefined = tenants.get(tenant) ?? others;
  if (limits !== undefined) scopes.push(openScope('tenant', tenant, scopeIds.tenant(tenant), limits));
  for (const [name, own] of keys)
    if (key === undefined ? tenantOf(name) === tenant : name === key)
      scopes.push(openScope('key', name, scopeIds.key(tenant, name), own));
  return scopes.filter((scope) => scope !== undefined);
}

/** The tenant of a key's name (`TENANT/NAME`, or the same name for both). */
function tenantOf(key: string): string {
  return key.split('/', 1)[0] ?? key;
}
