// How fast an idle guest moves, as a share of what one stream carries on the same machine in the same run.

import { cpuPerGiB, GIB, lastHop, MIB, rateOf } from '../demo.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { ratios } from '../statistics.ts'
import { bestCeiling, ceilingCompetitors } from './ceiling.ts'

const REQUIRED_SHARE = { 'no verification': 0.8, 'digest and audit': 0.6 }
type Mode = keyof typeof REQUIRED_SHARE
const MODES = Object.keys(REQUIRED_SHARE) as Mode[]
/** QEMU 10 with KVM, the same kind of guest over loopback: multifd 4, the faster of one stream and several. */
const QEMU = { value: 1.37, by: 'QEMU, one stream 1.32' }

function migration(mode: Mode, bytes: number, seed: number, returning = true): Competitor {
  return {
    name: mode,
    warmBytes: 2 * bytes,
    async run() {
      const report = await lastHop({
        memory: `${bytes / MIB}MiB`,
        workload: 'idle',
        content: 'random',
        movement: 'pre-copy',
        channels: 1,
        vcpus: 1,
        bandwidth: 'none',
        seed,
        ...(returning ? { hops: 1 } : {}),
        'no-oracle': true,
        ...(mode === 'no verification' ? ({ 'no-verify': true } as const) : {}),
      })
      return { rate: rateOf(report), totalMs: report.timeMs.total, cpu: cpuPerGiB(report) }
    },
  }
}

export const idleRate: Technique = {
  name: 'idle-rate',
  about: 'an idle guest of random content over one channel, as a share of the ceiling',
  async run(context: Context): Promise<Row[]> {
    const bytes = context.quick ? 128 * MIB : GIB
    const migrations = MODES.map((mode) => migration(mode, bytes, context.seed, !context.quick))
    // A quick run takes the read size that is best on most machines.
    const streams = ceilingCompetitors(bytes, context.seed).filter((_, index) => !context.quick || index === 1)
    const samples = await context.repeat([...streams, ...migrations])
    const best = bestCeiling(samples)
    const rows: Row[] = [{ name: `ceiling (${best.name})`, unit: 'GB/s', higherIsBetter: true, samples: best.rates }]
    for (const mode of MODES) {
      const rates = samplesOf(samples, mode, 'rate')
      const share = ratios(rates, best.rates)
      const required = { atLeast: REQUIRED_SHARE[mode] }
      rows.push(
        { name: `${mode}: share of ceiling`, unit: '×', higherIsBetter: true, samples: share, required },
        { name: `${mode}: rate`, unit: 'GB/s', higherIsBetter: true, samples: rates, published: QEMU },
        { name: `${mode}: total`, unit: 'ms', higherIsBetter: false, samples: samplesOf(samples, mode, 'totalMs') },
        { name: `${mode}: CPU`, unit: 'CPU s/GiB', higherIsBetter: false, samples: samplesOf(samples, mode, 'cpu') },
      )
    }
    if (!context.quick) {
      const cold = await context.cold(migration('digest and audit', bytes, context.seed, false))
      rows.push({ name: 'digest and audit: rate, cold', unit: 'GB/s', higherIsBetter: true, samples: [cold.rate ?? 0] })
    }
    return rows
  },
}
