import type { LookupAddress, LookupOptions } from 'node:dns';
import { lookup } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { once } from '../../shared/flights.ts';
import { classMayLeadTo, classOfAddress, type AddressClass } from './address.ts';

/** The code of the error for a name that leads where a registry must not send us. */
export const unsafeAddressCode = 'ERR_UNSAFE_ADDRESS';

/** What no public name has a reason to stand for. Private addresses are left to certificates: see docs/security.md. */
const inside: ReadonlySet<AddressClass> = new Set(['loopback', 'link-local', 'unspecified']);

/**
 * Makes a name lookup for hosts other than the registry's own: those that it redirects to, and its token server. A name
 * that stands for this machine or for a link-local address (such as a cloud's metadata service) fails, unless the
 * registry's own name does too. The connection goes to the very addresses that were checked.
 */
export function createCheckedLookup(registryHost: string): LookupFunction {
  const registryClasses = once(() => classesOf(registryHost.replace(/^\[|\]$/g, '')));
  const find = async (hostname: string, options: LookupOptions): Promise<LookupAddress[]> => {
    const found = await lookup(hostname, { ...options, all: true });
    const refused = found.map(({ address }) => classOfAddress(address)).filter((one) => inside.has(one));
    if (refused.length === 0) return found;
    const from = await registryClasses();
    if (refused.every((to) => from.some((one) => classMayLeadTo(one, to)))) return found;
    throw unsafeAddress(hostname);
  };
  return (hostname, options, callback) => {
    callbackify(find)(hostname, options, (error, found) => {
      if (error !== null) callback(error, '');
      else if (options.all === true) callback(null, found);
      else callback(null, found[0]?.address ?? '', found[0]?.family);
    });
  };
}

/** Where the registry itself is; nowhere when its name cannot be looked up here. */
async function classesOf(host: string): Promise<readonly AddressClass[]> {
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.map(({ address }) => classOfAddress(address));
}

function unsafeAddress(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} stands for an address that it must not lead to`), {
    code: unsafeAddressCode,
  });
}
