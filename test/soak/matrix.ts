// By hand, not part of `npm test`: `godwit demo --json` for every workload, movement, number of channels and of vCPUs.
// Prints one line a run and ends with a non-zero status if one of them was not consistent.
//
//   node test/soak/matrix.ts [DEMO OPTIONS...]      for example --memory 64MiB

import { type Demo, demo, finish } from './demo.ts'

const WORKLOADS = ['idle', 'web', 'hot', 'diab', 'sparse', 'phased', 'local', 'free']
const MOVEMENTS = ['stop-and-copy', 'pre-copy']
const CHANNELS = [1, 2, 4]
const VCPUS = [1, 4]

const runs: Demo[] = []
for (const workload of WORKLOADS) {
  for (const movement of MOVEMENTS) {
    for (const channels of CHANNELS) {
      for (const vcpus of VCPUS) {
        const options = ['--workload', workload, '--movement', movement, '--channels', `${channels}`]
        runs.push(await demo([...options, '--vcpus', `${vcpus}`, ...process.argv.slice(2)]))
      }
    }
  }
}
finish(runs)
