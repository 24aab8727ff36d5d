// Soft migrations of whole guests: both hosts run vCPUs for a time (R25–R29), and nothing is lost, whichever way it ends.

import { afterEach, describe, expect, test } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
afterEach(async () => await journey?.close())

const MIB = 1024 ** 2

describe('a guest of mutators', () => {
  test.each([
    { vcpus: 1, workload: 'hot' },
    { vcpus: 2, workload: 'hot' },
    { vcpus: 4, workload: 'local' },
  ])('of $vcpus vCPU(s), $workload, crosses vCPU by vCPU', async ({ vcpus, workload }) => {
    journey = await Journey.begin({
      vcpus,
      memoryBytes: 16 * MIB,
      options: { workload },
      pace: { kind: 'free', perSecond: 100_000 },
    })
    const report = await journey.move({ movement: 'soft' })
    console.log(
      JSON.stringify({
        soft: report.soft,
        time: report.timeMs,
        error: report.error,
        rounds: report.rounds.length,
        faults: report.faults?.latencyUs,
        net: report.faults?.network,
      }),
    )
    await journey.expectArrived(report)
    expect(report.soft?.crossingMs).toHaveLength(vcpus)
  })
})
