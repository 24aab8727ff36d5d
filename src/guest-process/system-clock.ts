// The real clock behind the sessions' Clock port.

import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../migration/ports.ts'

export const systemClock: Clock = {
  now: () => performance.now(),
  nowNs: () => process.hrtime.bigint(),
  sleep: async (ms, signal) => {
    await wait(ms, undefined, signal === undefined ? {} : { signal })
  },
}
