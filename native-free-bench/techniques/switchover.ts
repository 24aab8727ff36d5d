// How long a guest stands still: an idle one of several sizes, and one that dirties pages all the time.

import { type DemoOptions, lastHop, MIB } from '../demo.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { median } from '../statistics.ts'

const MAX_DOWNTIME_MS = 5
/** Downtime must not grow with memory: at most this factor from the smallest to the largest guest, or this much time. */
const MAX_GROWTH = 1.5
const MAX_GROWTH_MS = 1
/** Longest silence of a guest that dirties 20,000 pages a second, QEMU 10 pre-copy with KVM. */
const QEMU_STALL = { value: 63, by: 'QEMU pre-copy' }

function migration(name: string, mebibytes: number, context: Context, options: DemoOptions): Competitor {
  const common: DemoOptions = {
    movement: 'pre-copy',
    bandwidth: 'none',
    channels: 1,
    vcpus: 1,
    seed: context.seed,
    'no-oracle': true,
    ...(context.quick ? {} : { hops: 1 }),
  }
  return {
    name,
    warmBytes: 2 * mebibytes * MIB,
    async run() {
      const report = await lastHop({ ...common, memory: `${mebibytes}MiB`, ...options })
      return { downtime: report.timeMs.downtime, rounds: report.rounds.length }
    },
  }
}

export const switchover: Technique = {
  name: 'switchover',
  about: 'downtime of an idle guest by memory size, and of a guest that writes',
  async run(context: Context): Promise<Row[]> {
    const sizes = context.quick ? [64, 256] : [64, 512, 2048]
    const idle = { workload: 'idle', content: 'random' }
    const named = (size: number): string => `idle, ${size} MiB`
    const samples = await context.repeat(sizes.map((size) => migration(named(size), size, context, idle)))
    const rows: Row[] = sizes.map((size) => ({
      name: named(size),
      unit: 'ms',
      higherIsBetter: false,
      samples: samplesOf(samples, named(size), 'downtime'),
      required: { atMost: MAX_DOWNTIME_MS },
    }))

    const [smallest, largest] = [sizes[0] as number, sizes[sizes.length - 1] as number]
    const small = median(samplesOf(samples, named(smallest), 'downtime'))
    const large = median(samplesOf(samples, named(largest), 'downtime'))
    rows.push({
      name: `${largest} MiB over ${smallest} MiB`,
      unit: '×',
      higherIsBetter: false,
      samples: [large / small],
      required: { atMost: Math.max(MAX_GROWTH, (small + MAX_GROWTH_MS) / small) },
      note: `at most ${MAX_GROWTH}× or ${MAX_GROWTH_MS} ms more`,
    })

    if (context.quick) return rows
    // Uniform writes over half of 128 MiB: the 64 MiB that the published guest writes to.
    const writing = { workload: 'diab', content: 'random', pace: 'free:20000/s', 'downtime-target': '20ms' }
    const name = 'writes 20,000 pages/s over 64 MiB'
    const busy = await context.repeat([migration(name, 128, context, writing)])
    const downtime = samplesOf(busy, name, 'downtime')
    rows.push({ name, unit: 'ms', higherIsBetter: false, samples: downtime, published: QEMU_STALL })
    return rows
  },
}
