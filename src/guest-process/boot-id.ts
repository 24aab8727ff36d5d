// Whether two processes share one host, and so one monotonic clock: they do when they read the same boot id.

import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** The kernel's boot id; the host name where there is none. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return hostname()
  }
}
