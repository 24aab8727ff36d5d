// How many bytes pre-copy costs, in virtual time: the guest takes a fixed number of steps for every page sent, so the
// figures are the same on any machine and at any speed. Clark et al., NSDI 2005, give the published ones.

import type { MigrationReport } from '../../src/migration/report.ts'
import { type DemoOptions, demo, exactBytes, MIB } from '../demo.ts'
import type { Context, Row, Technique } from '../harness.ts'

const MEMORY_BYTES = 128 * MIB
const MIN_ROUNDS = 3

/** One migration at the locked pace; random content, so that no page is cheaper than another. */
async function locked(context: Context, options: DemoOptions): Promise<MigrationReport> {
  const [report] = await demo({
    memory: '128MiB',
    content: 'random',
    pace: 'locked',
    movement: 'pre-copy',
    bandwidth: 'none',
    'no-oracle': true,
    seed: context.seed,
    ...options,
  })
  context.log(`${options.workload}: ${report?.rounds.length} rounds, ended by ${report?.stopReason}`)
  return report as MigrationReport
}

const exact = (name: string, value: number, required: Row['required'], published?: Row['published']): Row => ({
  name,
  unit: '×',
  higherIsBetter: false,
  samples: [value],
  exact: true,
  ...(required === undefined ? {} : { required }),
  ...(published === undefined ? {} : { published }),
})

/** A share of a guest only counts when there were rounds to speak of and pages were sent twice. */
function substance(name: string, report: MigrationReport): Row[] {
  const yes = (what: string, kept: boolean): Row => ({
    ...exact(`${name}: ${what}`, kept ? 1 : 0, { atLeast: 1 }),
    unit: 'yes',
    higherIsBetter: true,
  })
  return [
    {
      ...exact(`${name}: rounds`, report.rounds.length, { atLeast: MIN_ROUNDS }),
      unit: 'rounds',
      higherIsBetter: true,
    },
    yes('pages sent twice', report.pages.sent > report.pages.total),
    yes('consistent', report.consistent === true),
  ]
}

export const lockedBytes: Technique = {
  name: 'locked-bytes',
  about: 'bytes of pre-copy against memory, at a locked pace: web, hot with and without skipping, diab',
  async run(context: Context): Promise<Row[]> {
    const web = await locked(context, { workload: 'web', 'downtime-target': '20ms' })
    const again = await locked(context, { workload: 'web', 'downtime-target': '20ms', channels: 2, vcpus: 1 })
    const rows = [
      exact('web: bytes', exactBytes(web) / MEMORY_BYTES, { atMost: 1.3 }, { value: 1.2, by: 'Clark, SPECweb' }),
      exact(
        'web: bytes in downtime',
        web.bytes.inDowntime / MEMORY_BYTES,
        { atMost: 0.02 },
        { value: 0.02, by: 'Clark' },
      ),
      exact('web: bytes, 2 channels over 1', exactBytes(again) / exactBytes(web), undefined),
      ...substance('web', web),
    ]

    const linear = await locked(context, { workload: 'hot', selection: 'linear' })
    const skip = await locked(context, { workload: 'hot', selection: 'skip' })
    rows.push(
      exact('hot: bytes, skip over linear', exactBytes(skip) / exactBytes(linear), { atMost: 0.9 }),
      ...substance('hot, linear', linear),
      ...substance('hot, skip', skip),
    )

    const diab = await locked(context, { workload: 'diab', stop: 'xen' })
    const ended = diab.stopReason === 'no-progress' || diab.stopReason === 'max-factor'
    rows.push(
      exact('diab: bytes', exactBytes(diab) / MEMORY_BYTES, { atMost: 5 }, { value: 5, by: 'bound of the stop rules' }),
      {
        ...exact('diab: ended by no-progress or max-factor', ended ? 1 : 0, { atLeast: 1 }),
        unit: 'yes',
        higherIsBetter: true,
      },
      ...substance('diab', diab),
    )
    return rows
  },
}
