// By hand, not part of `npm test`: migrations from many seeds, workloads and contents, each compared byte for byte with
// its replay.
//
//   node test/soak/seeds.ts [NUMBER] [DEMO OPTIONS...]      default: 100 migrations of 64 MiB

import { type Demo, demo, finish } from './demo.ts'

const WORKLOADS = ['idle', 'web', 'hot', 'diab', 'sparse', 'phased', 'local', 'free']
const CONTENTS = ['zero', 'random', 'text', 'mix', 'dup']

const [number = '100', ...options] = process.argv.slice(2)
const runs: Demo[] = []
for (let seed = 1; seed <= Number(number); seed++) {
  const [workload, content] = [WORKLOADS[seed % WORKLOADS.length], CONTENTS[seed % CONTENTS.length]]
  const shape = ['--vcpus', `${1 + (seed % 3)}`, '--channels', `${1 + (seed % 2)}`, '--memory', '64MiB']
  runs.push(
    await demo(['--seed', `${seed}`, '--workload', `${workload}`, '--content', `${content}`, ...shape, ...options]),
  )
}
finish(runs)
