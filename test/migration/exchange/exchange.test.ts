// Pages and vCPUs of one guest go to and fro between two memories over a real connection, with real vCPU threads that share
// pages; at the end the guest must be what its steps make it.

import type { Worker } from 'node:worker_threads'
import { describe, expect, test } from 'vitest'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { ThreadedExchange } from '../../../src/migration/exchange/threaded-exchange.ts'
import { runOracle } from '../../../src/programs/oracle.ts'
import { SEED } from '../../programs/guest-fixture.ts'
import { Random } from '../../simulation/random.ts'
import { LOOPBACK, newIdentity, TwoHosts } from './two-hosts.ts'

const MIB = 1024 * 1024
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** All is at that side, and is what the steps make it. */
async function checkAt(both: TwoHosts, side: 'source' | 'destination'): Promise<void> {
  expect(both.ownedTwice()).toEqual([])
  const { vcpus, memory, here } = both[side]
  expect(here).toEqual(here.map(() => true))
  await vcpus.pause()
  const request = { memory, config: both.config, states: vcpus.save(), programsDirectory: null }
  expect(await runOracle(request)).toEqual({ equal: true, differing: [], registersDiffer: [] })
}

/** Brings every vCPU to that side, whatever is cut, and then every page. */
async function bringAll(both: TwoHosts, to: 'source' | 'destination'): Promise<void> {
  const from = both[to === 'source' ? 'destination' : 'source']
  both[to].exchange.push(null)
  for (let vcpu = 0; vcpu < both.config.vcpus; vcpu++) while (from.here[vcpu]) await both.cross(vcpu)
  from.exchange.push('everything')
  await from.exchange.drained()
  // What the other side gave before it was told to stop comes back.
  for (let turn = 0; turn < 500 && both.ownedTwice().length > 0; turn++) await sleep(10)
}

describe('an exchange between two hosts', { timeout: 120_000 }, () => {
  test('four vCPUs cross one at a time, everything follows', async () => {
    const both = await TwoHosts.begin({ vcpus: 4, memoryBytes: 4 * MIB, pace: { kind: 'free', perSecond: 20_000 } })
    const { source, destination } = both
    for (const vcpu of [0, 1, 2, 3]) {
      expect(await both.cross(vcpu)).toBe(true)
      source.exchange.push({ homes: Array.from({ length: vcpu + 1 }, (_, index) => index) })
      await sleep(30)
    }
    source.exchange.push('everything')
    await source.exchange.drained()
    await checkAt(both, 'destination')
    expect(both.cuts).toEqual([])
    const { pushed, asked, withoutData, returned } = source.exchange.counts
    expect(pushed + asked + withoutData - returned).toBe(1024)
    expect(withoutData).toBeGreaterThan(500)
    expect(destination.exchange.counts.received).toBe(1024 + returned)
    // And home again: a cancel is the same in the other direction.
    await bringAll(both, 'source')
    await both.destination.vcpus.pause()
    await checkAt(both, 'source')
  })

  const turns = Array.from({ length: Number(process.env.GODWIT_TURNS ?? 3) }, (_, index) => index + 1)

  test.each(turns)('to and fro at random, cut at random (%i)', async (turn) => {
    const seed = SEED + turn
    console.log(`GODWIT_SEED=${SEED}, turn ${turn}`)
    const random = new Random(seed)
    const workload = ['web', 'hot', 'sparse'][random.below(3)] as string
    const options = { workload, content: 'mix' }
    const pace = { kind: 'free', perSecond: random.chance(0.5) ? 5000 : 30_000 } as const
    const memoryBytes = (1 + random.below(4)) * MIB
    const both = await TwoHosts.begin({ vcpus: 4, memoryBytes, options, seed, pace }, { delayMs: random.below(3) })
    let over = false
    const cutting = (async () => {
      while (!over) {
        await sleep(20 + random.below(300))
        if (!over) both.relay.cut(false)
      }
    })()
    for (let move = 0; move < 30; move++) {
      const side = random.chance(0.5) ? both.source : both.destination
      const what = random.below(4)
      if (what === 0) side.exchange.push({ homes: [random.below(4)] })
      else if (what === 1) side.exchange.push(null)
      await both.cross(random.below(4))
      await sleep(random.below(20))
    }
    over = true
    await cutting
    const end = random.chance(0.5) ? 'source' : 'destination'
    await bringAll(both, end)
    await checkAt(both, end)
    expect(both.cuts.filter(({ code }) => code !== 'link-lost')).toEqual([])
    const { counts } = both.source.exchange
    console.log(`${both.cuts.length / 2} cuts`, counts)
    expect(counts.returned).toBeGreaterThan(0)
  })

  test('one that has failed refuses a link only when everybody hears of it', async () => {
    let thread: Worker | undefined
    const note = (worker: Worker): void => {
      thread = worker
    }
    process.on('worker', note)
    const where = { role: 'dials', port: 1 } as const
    const quiet = async (): Promise<void> => {}
    const memory = GuestMemory.create(MIB, 1)
    const exchange = await ThreadedExchange.create({ memory, where, ...newIdentity(), hash: false, quiet })
    process.off('worker', note)
    let told = false
    void exchange.broken.then(() => {
      told = true
    })
    thread?.emit('error', new Error('told to fail'))
    await expect(exchange.link(1, LOOPBACK, new AbortController().signal)).rejects.toThrow('told to fail')
    expect(told).toBe(true)
  })
})
