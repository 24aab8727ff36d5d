// Names of hosts, as far as they can be compared without asking anybody: those of this host in common use are one, and an
// IPv4 address that came in through IPv6 is itself. Used wherever places are kept by address.

const HERE = '127.0.0.1'

/** What to compare a host by; equal for names that are sure to be of one host. */
export function hostKey(host: string): string {
  const plain = host.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '')
  return plain === 'localhost' ? HERE : plain
}

/** The same of a port at a host. */
export const placeKey = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  `${hostKey(host)} ${port}`
