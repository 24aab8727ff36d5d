// By hand, not part of `npm test`: seeded soft migrations under random cuts, refusals, corruption and stalls, about every third
// cancelled while both hosts serve; each guest is compared byte for byte with its replay. Prints one line a run.
//
//   node test/soak/soft-faults.ts [NUMBER] [FIRST SEED]      default: 100 runs from seed 1

import { carryOut, drawSoftRun } from '../support/pull-run.ts'

const wanted = Number(process.argv[2] ?? 100)
const first = Number(process.argv[3] ?? 1)
const failed: number[] = []
let recoveries = 0
for (let seed = first; seed < first + wanted; seed++) {
  const run = drawSoftRun(seed)
  const startedAt = performance.now()
  const { settings, guest, faults, cancelAfterMs } = run
  const what = `${settings.channels} channels ${guest.vcpus} vCPUs ${guest.options?.workload}`
  const how = [
    ...faults.map(({ kind, afterBytes, more }) => `${kind}@${afterBytes}+${more}`),
    `cancel ${cancelAfterMs}`,
  ]
  try {
    const { report } = await carryOut(run)
    recoveries += report.soft?.recoveries ?? 0
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    const figures = `${report.outcome}, owner ${report.owner}, ${report.soft?.recoveries ?? 0} recoveries`
    console.log(`ok     seed ${seed}: ${what}: ${how.join(' ')}: ${figures} (${seconds} s)`)
  } catch (error) {
    failed.push(seed)
    console.log(
      `FAILED seed ${seed}: ${what}: ${how.join(' ')}\n       ${error instanceof Error ? error.message : error}`,
    )
  }
}
console.log(
  `${wanted - failed.length} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed}` : ''}; ${recoveries} recoveries`,
)
process.exit(failed.length === 0 ? 0 : 1)
