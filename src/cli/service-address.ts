// Where a service is, as people write it: PORT, :PORT, HOST:PORT or [HOST]:PORT.

import { GodwitError } from '../errors.ts'
import type { Target } from '../load/options.ts'

const LOOPBACK = '127.0.0.1'
const HIGHEST_PORT = 65_535

/** Throws `usage`. */
export function parseService(text: string): Target {
  const match = /^(?:(?:\[([0-9a-f:.%]+)\]|([^:[\]/]+))?:)?(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (match !== null && port >= 1 && port <= HIGHEST_PORT) return { host: match[1] ?? match[2] ?? LOOPBACK, port }
  throw new GodwitError('usage', `'${text}' is no address of a service`, {
    hint: 'write PORT or HOST:PORT, such as 6380 or 10.0.0.2:6380',
  })
}

export const serviceText = ({ host, port }: Target): string => `${host.includes(':') ? `[${host}]` : host}:${port}`
