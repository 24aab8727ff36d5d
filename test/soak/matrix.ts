// By hand, not part of `npm test`: `godwit demo --json` for every combination of workload, movement, content, number of
// channels and of vCPUs. Prints one line a run and ends with a non-zero status if one of them was not consistent.
//
//   node test/soak/matrix.ts [LISTS...] [DEMO OPTIONS...]
//
//   --workloads, --movements, --contents, --channels-list, --vcpus-list: what to combine, separated by commas. For example
//   --movements post-copy,hybrid --contents zero,random,text,mix,dup --channels-list 1,3 --memory 32MiB

import { type Demo, demo, finish } from './demo.ts'

const [workloads, afterWorkloads] = list(
  'workloads',
  'idle,web,hot,diab,sparse,phased,local,free',
  process.argv.slice(2),
)
const [movements, afterMovements] = list('movements', 'stop-and-copy,pre-copy', afterWorkloads)
const [contents, afterContents] = list('contents', 'mix', afterMovements)
const [channels, afterChannels] = list('channels-list', '1,2,4', afterContents)
const [vcpus, options] = list('vcpus-list', '1,4', afterChannels)

let cases: string[][] = [[]]
cases = cases.flatMap((words) => workloads.map((each) => [...words, '--workload', each]))
cases = cases.flatMap((words) => movements.map((each) => [...words, '--movement', each]))
cases = cases.flatMap((words) => contents.map((each) => [...words, '--content', each]))
cases = cases.flatMap((words) => channels.map((each) => [...words, '--channels', each]))
cases = cases.flatMap((words) => vcpus.map((each) => [...words, '--vcpus', each]))

const runs: Demo[] = []
for (const words of cases) runs.push(await demo([...words, ...options]))
finish(runs)

/** The values of `--name` in `words`, or of `otherwise`; and the words without it. */
function list(name: string, otherwise: string, words: readonly string[]): [string[], string[]] {
  const at = words.indexOf(`--${name}`)
  if (at < 0) return [otherwise.split(','), [...words]]
  return [(words[at + 1] ?? '').split(','), words.toSpliced(at, 2)]
}
