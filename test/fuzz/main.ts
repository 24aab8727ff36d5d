// node test/fuzz/main.ts TARGET SECONDS SEED: fuzzes one target, or `all` in turn, guided by the coverage of the kernels.
// node test/fuzz/main.ts TARGET --replay BASE64: runs one input. The exit status is 1 when a rule was broken.

import { instrumentKernels, places } from './instrument.ts'
import { type FuzzResult, type FuzzTarget, fuzz } from './loop.ts'
import { TARGETS } from './targets.ts'

/** `lz4.decompress 40/41, …`: functions that were reached, with the counters reached in them. */
function coverageOf({ reached }: FuzzResult): string {
  const all = Map.groupBy(places.keys(), (place) => places[place] as string)
  const lines = [...all].map(([name, own]) => ({
    name,
    hit: own.filter((place) => reached.has(place)).length,
    of: own.length,
  }))
  return lines
    .filter(({ hit }) => hit > 0)
    .map(({ name, hit, of }) => `${name} ${hit}/${of}`)
    .join(', ')
}

function print(name: string, seed: number, result: FuzzResult): void {
  const { executions, seconds, corpus, outcomes, breach } = result
  const rate = Math.round(executions / Math.max(seconds, 0.001))
  console.log(`${name}: ${executions} executions in ${seconds.toFixed(1)} s (${rate}/s), seed ${seed}`)
  console.log(
    `  corpus ${corpus.length}, outcomes ${outcomes.size}, coverage: ${coverageOf(result) || 'none in kernels'}`,
  )
  if (breach === null) return
  console.log(`  BROKEN: ${(breach.error as Error)?.stack ?? breach.error}`)
  console.log(`  again: node test/fuzz/main.ts ${name} --replay ${Buffer.from(breach.input).toString('base64')}`)
}

const [wanted = '', second = '', third = ''] = process.argv.slice(2)
const names = wanted === 'all' ? Object.keys(TARGETS) : [wanted]
const replay = second === '--replay'
const seconds = Number(second || 10)
const seed = Number(third || Date.now() % 1_000_000)
if (names.some((name) => !Object.hasOwn(TARGETS, name)) || (!replay && !(seconds > 0 && Number.isInteger(seed)))) {
  console.error(`usage: node test/fuzz/main.ts all|${Object.keys(TARGETS).join('|')} SECONDS SEED`)
  process.exit(2)
}
await instrumentKernels()
for (const name of names) {
  const target = (TARGETS[name] as () => FuzzTarget)()
  if (replay) {
    console.log(target.run(Buffer.from(third, 'base64')))
    continue
  }
  const result = fuzz(target, { seed, seconds })
  print(name, seed, result)
  if (result.breach !== null) process.exitCode = 1
}
