// By hand, not part of `npm test`: seeded post-copy and hybrid migrations under random cuts, refusals, corruption and
// stalls, each compared byte for byte with its replay. Prints one line a run, and the seed of each that failed.
//
//   node test/soak/pull-faults.ts [NUMBER] [FIRST SEED]      default: 200 runs from seed 1

import { carryOut, drawRun } from '../support/pull-run.ts'

const number = Number(process.argv[2] ?? 200)
const first = Number(process.argv[3] ?? 1)
const failed: number[] = []
for (let seed = first; seed < first + number; seed++) {
  const run = drawRun(seed)
  const startedAt = performance.now()
  const { settings, guest, faults } = run
  const what = `${settings.movement} ${settings.channels} channels ${guest.vcpus} vCPUs ${guest.options?.workload} ${settings.pushOrder}`
  const how = faults.map(({ kind, afterBytes, more }) => `${kind}@${afterBytes}+${more}`).join(' ')
  try {
    const report = await carryOut(run)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    const figures = `${report.outcome}, owner ${report.owner}, ${report.pull?.recoveries ?? 0} recoveries`
    console.log(`ok     seed ${seed}: ${what}: ${how}: ${figures} (${seconds} s)`)
  } catch (error) {
    failed.push(seed)
    console.log(`FAILED seed ${seed}: ${what}: ${how}\n       ${error instanceof Error ? error.message : error}`)
  }
}
console.log(`${number - failed.length} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed}` : ''}`)
process.exit(failed.length === 0 ? 0 : 1)
