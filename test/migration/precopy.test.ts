// The loop of pre-copy with links and vCPUs made up: in which order it sends, waits for placements and stops (R12).

import { expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { countBits } from '../../src/guest/page-set.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { precopy } from '../../src/migration/precopy.ts'
import { ReportBuilder } from '../../src/migration/report-builder.ts'
import { type MigrationOptions, settingsSchema } from '../../src/migration/settings.ts'
import type { SourceContext } from '../../src/migration/source-context.ts'
import { guestConfig, MIB } from '../support/config.ts'

const PAGES = 256
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A guest that dirties `dirty[k]` pages by the k-th harvest, on a link that places a round when it is told. */
function setUp(dirty: readonly number[], options: MigrationOptions, roundTripMs = 1000) {
  const config = guestConfig({ memoryBytes: MIB })
  const memory = GuestMemory.create(config.memoryBytes, config.vcpus)
  const settings = settingsSchema.parse(options)
  const log: string[] = []
  const placements: PromiseWithResolvers<unknown>[] = []
  let [now, harvests, table] = [0, 0, 0 as 0 | 1]
  const clock = { now: () => ++now, nowNs: () => 0n, sleep: () => new Promise<void>(() => {}) }
  const report = new ReportBuilder(
    { id: 'b'.repeat(32), guest: config, names: { source: 'a', destination: 'b' }, settings },
    clock.now,
  )
  const context = {
    id: 'b'.repeat(32),
    guest: config,
    memory,
    kernels: loadKernels(memory),
    settings,
    clock,
    report,
    hashing: false,
    slowestHandshakeMs: 0,
    control: { roundTripMs },
    vcpus: {
      swapCards: async () => {
        const retired = table
        table = retired === 0 ? 1 : 0
        // The first swap belongs to the selection of everything.
        const count = harvests === 0 ? 0 : (dirty[harvests - 1] ?? 0)
        memory.controlBytes.fill(1, memory.layout.cards[retired], memory.layout.cards[retired] + count)
        if (harvests++ > 0) log.push(`harvest ${count}`)
        return { retired, ms: 0 }
      },
    },
    pages: {
      bytes: { sent: 0, received: 0, control: 0 },
      setBandwidth: () => {},
      sendRound: async ({ round }: { round: number }) => {
        log.push(`send ${round}`)
        memory.controlBytes.fill(0, memory.layout.toSend, memory.layout.toSend + PAGES / 8)
        return { sent: 200, skipped: 0, bytes: 820_000, zeroPages: 0, rawPages: 200 }
      },
    },
    placed: (round: number) => {
      placements[round] = Promise.withResolvers()
      return placements[round].promise
    },
    orInterrupt: <T>(promise: Promise<T>) => promise,
    fixedMs: () => 0,
    stopRequested: () => false,
    watchProgress: () => () => {},
  } as unknown as SourceContext
  const place = async (round: number): Promise<void> => {
    log.push(`placed ${round}`)
    placements[round]?.resolve({})
    await turn()
  }
  return { run: () => precopy(context), log, place, report, memory }
}

test('the source sends on while a round is on the link, and drains the link before it stops (R12)', async () => {
  const { run, log, place, report } = setUp([100, 90, 10, 5], { stop: 'xen' })
  const result = run()
  await turn()
  // Two rounds are under way; the third waits for the first.
  expect(log).toEqual(['send 0', 'harvest 100', 'send 1', 'harvest 90'])
  expect(report.rounds).toEqual([])
  await place(0)
  // 10 pages are few enough to stop, but round 2 is still on the link.
  expect(log.slice(4)).toEqual(['placed 0', 'send 2', 'harvest 10'])
  await place(1)
  await place(2)
  expect(log.slice(7)).toEqual(['placed 1', 'placed 2', 'harvest 5'])
  expect(await result).toMatchObject({ stopReason: 'small-remainder', nextRound: 3 })
  expect(report.rounds.map(({ index, decision }) => `${index} ${decision}`)).toEqual([
    '0 continue: 100 pages are left',
    '1 continue: 90 pages are left',
    '2 stop: 10 pages are left',
  ])
})

test('a remainder that grew too large while the link drained is one more round', async () => {
  const { run, log, place } = setUp([10, 80, 5], { stop: 'xen', maxRounds: 9 })
  const result = run()
  await turn()
  expect(log).toEqual(['send 0', 'harvest 10'])
  await place(0)
  expect(log.slice(2)).toEqual(['placed 0', 'harvest 80', 'send 1', 'harvest 5'])
  await place(1)
  expect(await result).toMatchObject({ nextRound: 2 })
})

test('where a round trip is little against a round, the source waits for the fresher harvest', async () => {
  const { run, log, place } = setUp([100, 10], { stop: 'xen' }, 0)
  const result = run()
  await turn()
  expect(log).toEqual(['send 0'])
  await place(0)
  expect(log.slice(1)).toEqual(['placed 0', 'harvest 100', 'send 1'])
  await place(1)
  expect(await result).toMatchObject({ nextRound: 2 })
})

test('hybrid leaves by its own rule when the remainder no longer shrinks, and counts writes a round', async () => {
  const dirty = [100, 100, 102, 101]
  const options = { movement: 'hybrid', stop: 'xen', downtimeTarget: 0.001, pushOrder: 'least-written' } as const
  const { run, place, report, memory } = setUp(dirty, options)
  memory.controlBytes.fill(9, memory.layout.scanHashes, memory.layout.scanHashes + PAGES)
  const result = run()
  for (let round = 0; round < 3; round++) {
    await turn()
    await place(round)
  }
  expect(await result).toMatchObject({ stopReason: 'no-progress', nextRound: 3 })
  expect(report.rounds.map(({ decision }) => decision.replace(/\d+\.\d ms/, 'x ms'))).toEqual([
    'continue: x ms predicted for 100 pages, target 0.001 ms',
    'continue: x ms predicted for 100 pages, target 0.001 ms',
    'stop: the remainder has not shrunk for 2 rounds; 102 pages are left to pull',
  ])
  // Three rounds; the last one was harvested twice, and that counts once. What an earlier migration counted is gone.
  const counts = memory.controlBytes.subarray(memory.layout.scanHashes, memory.layout.scanHashes + PAGES)
  expect([counts[0], counts[99], counts[101], counts[102], counts[255]]).toEqual([3, 3, 1, 0, 0])
})

test('hybrid without rounds sends nothing and has everything to pull', async () => {
  const { run, log, memory } = setUp([], { movement: 'hybrid', maxRounds: 0 })
  expect(await run()).toEqual({ stopReason: 'max-rounds', predictedDowntimeMs: 0, nextRound: 0 })
  expect(log).toEqual([])
  expect(countBits(memory, memory.layout.toSend)).toBe(PAGES)
})

test('hybrid with one round sends the full pass', async () => {
  const { run, log, place } = setUp([200, 200], { movement: 'hybrid', maxRounds: 1, downtimeTarget: 0.001 })
  const result = run()
  await turn()
  await place(0)
  expect(await result).toMatchObject({ stopReason: 'max-rounds', nextRound: 1 })
  expect(log).toEqual(['send 0', 'harvest 200', 'placed 0', 'harvest 200'])
})
