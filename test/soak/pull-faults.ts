// By hand, not part of `npm test`: seeded post-copy and hybrid migrations under random cuts, refusals, corruption and
// stalls, each compared byte for byte with its replay. Prints one line a run, and the seed of each that failed.
//
//   node test/soak/pull-faults.ts [NUMBER] [FIRST SEED] [switch|pull]      default: 200 runs from seed 1, pull
//
// pull: faults strike from the guest's first step at the destination on, and only runs in which one did strike before
// the last page was there are counted. switch: from the commit on, and every run counts.

import { carryOut, drawRun, type Phase } from '../support/pull-run.ts'

const wanted = Number(process.argv[2] ?? 200)
const first = Number(process.argv[3] ?? 1)
const phase: Phase = process.argv[4] === 'switch' ? 'switch' : 'pull'
const failed: number[] = []
const kinds = new Map<string, number>()
let counted = 0
let recoveries = 0
let seed = first
for (; counted < wanted; seed++) {
  const run = drawRun(seed, phase)
  const startedAt = performance.now()
  const { settings, guest, faults } = run
  const what = `${settings.movement} ${settings.channels} channels ${guest.vcpus} vCPUs ${guest.options?.workload} ${settings.pushOrder}`
  const how = faults.map(({ kind, afterBytes, more }) => `${kind}@${afterBytes}+${more}`).join(' ')
  try {
    const { report, struckInPull } = await carryOut(run)
    if (phase === 'switch' || struckInPull > 0) counted++
    recoveries += report.pull?.recoveries ?? 0
    for (const { kind } of faults.slice(0, struckInPull)) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    const figures = `${report.outcome}, owner ${report.owner}, ${struckInPull} struck, ${report.pull?.recoveries ?? 0} recoveries`
    console.log(`ok     seed ${seed}: ${what}: ${how}: ${figures} (${seconds} s)`)
  } catch (error) {
    counted++
    failed.push(seed)
    console.log(`FAILED seed ${seed}: ${what}: ${how}\n       ${error instanceof Error ? error.message : error}`)
  }
}
const struck = [...kinds].map(([kind, times]) => `${kind} ${times}`).join(', ')
console.log(`${seed - first} runs, ${counted} counted, ${recoveries} recoveries; struck in the pull: ${struck}`)
console.log(`${counted - failed.length} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed}` : ''}`)
process.exit(failed.length === 0 ? 0 : 1)
