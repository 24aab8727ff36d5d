// What a gang saves: guests that have content in common move to one host, later ones referring to earlier ones, against the
// same guests moved each on its own. Deshpande, Wang, Gopalan, HPDC 2011. The guests are locked to the transfer, so they
// hold the same both times.

import type { MigrationReport } from '../../src/migration/report.ts'
import { type Agent, gangOf, migrateAs, startAgent, startGuestAs, stopAgent } from '../agents.ts'
import { exactBytes, MIB } from '../demo.ts'
import type { Context, Row, Technique } from '../harness.ts'

/** In a quick run, which says only that it works, two. */
const guestsOf = ({ quick }: Context): number => (quick ? 2 : 4)
/** Share of the pages whose content all guests have in common. */
const COMMON = 0.6
const MOVING = { bandwidth: '40MB/s', stop: 'xen', 'max-rounds': 2 }

/** Page data and what wraps it, and what came back: with a gang, the hashes of the neighbours' pages. */
const bothWays = (report: MigrationReport): number => exactBytes(report) + report.bytes.received
const sum = (reports: readonly MigrationReport[], of: (report: MigrationReport) => number): number =>
  reports.reduce((all, report) => all + of(report), 0)

/** Moves the guests from one new agent to another, as a gang or each on its own. */
async function moved(context: Context, memory: number, together: boolean): Promise<MigrationReport[]> {
  const agents: Agent[] = []
  try {
    for (const name of ['from', 'to']) agents.push(await startAgent(name, 'sources'))
    const [from, to] = agents as [Agent, Agent]
    const names = Array.from({ length: guestsOf(context) }, (_, index) => `guest${index}`)
    for (const [index, name] of names.entries()) {
      const seed = context.seed + index
      const guest = { memory: `${memory / MIB}MiB`, workload: 'web', content: 'mix', pace: 'locked', seed }
      await startGuestAs(from, name, { ...guest, option: `common=${COMMON}` })
    }
    const reports: MigrationReport[] = []
    if (together) reports.push(...(await gangOf(names, from, to, MOVING)))
    else for (const name of names) reports.push(await migrateAs(name, from, to, MOVING))
    const each = reports.map((report) => `${(bothWays(report) / MIB).toFixed(1)} MiB`).join(', ')
    context.log(`${together ? 'as a gang' : 'separately'}: ${each}, ${(sum(reports, timeOf) / 1000).toFixed(1)} s`)
    return reports
  } finally {
    await Promise.all(agents.map(stopAgent))
  }
}
const timeOf = ({ timeMs }: MigrationReport): number => timeMs.total
const sharedOf = ({ pages }: MigrationReport): number => pages.encodings.shared?.pages ?? 0

export const gang: Technique = {
  name: 'gang',
  about: 'bytes of four guests with 60 % of their content in common, as a gang over separately, at 40 MB/s',
  async run(context: Context): Promise<Row[]> {
    const memory = (context.quick ? 16 : 64) * MIB
    const separately = await moved(context, memory, false)
    const together = await moved(context, memory, true)
    const row = { unit: '×', higherIsBetter: false, exact: true } as const
    const guests = guestsOf(context)
    const over = (of: (report: MigrationReport) => number, from = 0, to = guests): number =>
      sum(together.slice(from, to), of) / sum(separately.slice(from, to), of)
    const pages = sum(together, sharedOf)
    const sent = sum(together, ({ pages: { total } }) => total)
    const note = `${pages} of ${sent} pages were there already`
    return [
      {
        ...row,
        name: `${guests} guests: bytes, gang over separately`,
        samples: [over(bothWays)],
        ...(context.quick ? {} : { required: { atMost: 0.6 } }),
        note,
      },
      { ...row, name: '… the first guest', samples: [over(bothWays, 0, 1)], required: { atMost: 1.01 } },
      { ...row, name: '… the others', samples: [over(bothWays, 1)] },
      {
        ...row,
        name: '… total time',
        exact: false,
        samples: [over(timeOf)],
      },
    ]
  },
}
