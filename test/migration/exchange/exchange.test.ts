// Pages and vCPUs of one guest go to and fro between two memories over a real connection, with real vCPU threads that share
// pages; at the end the guest must be what its steps make it.

import { describe, expect, test } from 'vitest'
import { runOracle } from '../../../src/programs/oracle.ts'
import { SEED } from '../../programs/guest-fixture.ts'
import { Random } from '../../simulation/random.ts'
import { TwoHosts } from './two-hosts.ts'

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function checkAt(both: TwoHosts, side: 'source' | 'destination'): Promise<void> {
  const { vcpus, memory } = both[side]
  await vcpus.pause()
  const states = vcpus.save()
  const answer = await runOracle({ memory, config: both.config, states, programsDirectory: null })
  expect(answer).toEqual({ equal: true, differing: [], registersDiffer: [] })
}

describe('an exchange between two hosts', { timeout: 60_000 }, () => {
  test('four vCPUs cross one at a time, everything follows', async () => {
    const both = await TwoHosts.begin({
      vcpus: 4,
      memoryBytes: 4 * 1024 * 1024,
      pace: { kind: 'free', perSecond: 20_000 },
    })
    const { source, destination } = both
    for (const vcpu of [0, 1, 2, 3]) {
      expect(await both.cross(vcpu)).toBe(true)
      source.exchange.push({ homes: Array.from({ length: vcpu + 1 }, (_, index) => index) })
      await sleep(30)
    }
    source.exchange.push('everything')
    await source.exchange.drained()
    expect(both.ownedTwice()).toEqual([])
    console.log(source.exchange.counts, destination.exchange.counts)
    await checkAt(both, 'destination')
    expect(both.cuts).toEqual([])
  })
})
void Random
void SEED
