// A guest that leaves again at the very moment in which it has arrived: the lanes that it came by are still being closed.

import { setImmediate as breathe } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { GuestHost } from '../../src/guest-process/host.ts'
import { Shuttle } from '../support/shuttle.ts'

let shuttle: Shuttle | undefined

afterEach(async () => {
  await shuttle?.close()
  shuttle = undefined
})

async function arrived({ there }: Shuttle): Promise<GuestHost> {
  for (;;) {
    const arrival = there.arrivals.at(-1)
    if (arrival?.status().state === 'running') return arrival
    await breathe()
  }
}

test.each(['pre-copy', 'post-copy', 'hybrid'] as const)('%s, and onward at once', async (movement) => {
  shuttle = await Shuttle.begin({ options: { workload: 'web', content: 'random' } })
  const { here } = shuttle
  const arrival = arrived(shuttle)
  const first = shuttle.hop({ movement, keepCopy: false })
  const second = await (await arrival).migrate({
    id: 'd'.repeat(32),
    to: { host: '127.0.0.1', port: here.port },
    settings: { movement, bandwidth: 20_000_000 },
    sourceAgent: { name: 'there', port: 1 },
    dataPortRange: [0, 0],
    listenHost: '127.0.0.1',
  })
  expect(await first).toMatchObject({ outcome: 'completed', consistent: true })
  expect(second.error).toBeUndefined()
  expect(second).toMatchObject({ outcome: 'completed', consistent: true })
  const home = here.arrivals.at(-1) as GuestHost
  await expect.poll(() => home.status().state, { timeout: 10_000 }).toBe('running')
  expect(await home.oracle()).toEqual({ equal: true, differing: [] })
})
