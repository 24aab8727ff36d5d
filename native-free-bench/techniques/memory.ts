// Resident memory: what a guest process costs beyond its guest, what an agent costs, whether fifty hops leave anything
// behind, and how fast a host has its memory back. Measured with the published form, as an operator installs it. The cache for
// deltas, whose size is the operator's choice, is measured apart: whether it fills otherwise depends on how busy the machine is.

import {
  type Agent,
  build,
  childrenOf,
  migrateAs,
  residentBytes,
  startAgent,
  startGuest,
  stopAgent,
  untilGuestsAreGone,
} from '../agents.ts'
import { type Form, MIB } from '../demo.ts'
import type { Context, Row, Technique } from '../harness.ts'

const MAX_GUEST_OVERHEAD_MIB = 160
const MAX_AGENT_MIB = 120
const MAX_AGENT_GROWTH_MIB = 10
const MAX_RETURN_MS = 1000
const GUEST_MIB = 64

type How = Readonly<Record<string, string>>
const NO_CACHE: How = { 'delta-cache': '0' }
const FULL_CACHE: How = { 'delta-cache': `${GUEST_MIB}MiB`, encode: 'delta' }
const CACHE_HOPS = 2

const BESIDE = { unit: 'MiB', higherIsBetter: false } as const

interface Seen {
  readonly overheadMiB: number[]
  readonly agentMiB: number[]
  readonly returnMs: number[]
}

/** Moves the guest there or back; records every process. */
async function hop(agents: readonly [Agent, Agent], index: number, how: How, seen: Seen): Promise<void> {
  const [from, to] = index % 2 === 0 ? agents : ([agents[1], agents[0]] as const)
  const report = await migrateAs('traveller', from, to, how)
  seen.returnMs.push(await untilGuestsAreGone(from))
  const { sourceRssPeak, destinationRssPeak } = report.resources
  const peak = Math.max(sourceRssPeak, destinationRssPeak, ...childrenOf(to).map((pid) => residentBytes(pid, 'peak')))
  seen.overheadMiB.push(peak / MIB - GUEST_MIB)
  seen.agentMiB.push(Math.max(...agents.map((agent) => residentBytes(agent.process.pid as number))) / MIB)
}

const atMost = (name: string, unit: Row['unit'], samples: number[], limit: number): Row => ({
  name,
  unit,
  higherIsBetter: false,
  samples,
  required: { atMost: limit },
})

/** Moves a guest to and fro between two new agents. */
async function travel(form: Form, hops: number, how: How, context: Context): Promise<Seen> {
  const agents: Agent[] = []
  try {
    agents.push(await startAgent('alpha', form), await startAgent('beta', form))
    const pair = agents as [Agent, Agent]
    await startGuest(pair[0], 'traveller', `${GUEST_MIB}MiB`)
    const seen: Seen = { overheadMiB: [], agentMiB: [], returnMs: [] }
    for (let index = 0; index < hops; index++) {
      await hop(pair, index, how, seen)
      if ((index + 1) % 10 === 0) context.log(`${index + 1} hops`)
    }
    return seen
  } finally {
    for (const agent of agents) await stopAgent(agent)
  }
}

export const memory: Technique = {
  name: 'memory',
  about: 'resident memory of guest processes and agents over many hops, and how fast it returns',
  async run(context: Context): Promise<Row[]> {
    const [early, late] = context.quick ? [2, 4] : [10, 50]
    await build()
    const seen = await travel('build', late, NO_CACHE, context)
    const growth = (seen.agentMiB[late - 1] as number) - (seen.agentMiB[early - 1] as number)
    const rows: Row[] = [
      atMost('guest process beyond its guest, peak', 'MiB', [Math.max(...seen.overheadMiB)], MAX_GUEST_OVERHEAD_MIB),
      atMost('agent, largest', 'MiB', [Math.max(...seen.agentMiB)], MAX_AGENT_MIB),
      atMost(`agent, hop ${late} over hop ${early}`, 'MiB', [growth], MAX_AGENT_GROWTH_MIB),
      atMost("host's memory back, slowest", 'ms', [Math.max(...seen.returnMs)], MAX_RETURN_MS),
    ]
    const cached = await travel('build', CACHE_HOPS, FULL_CACHE, context)
    const sources = await travel('sources', 2, NO_CACHE, context)
    const note = 'Node.js keeps what it strips types with'
    return [
      ...rows,
      {
        ...BESIDE,
        name: `with ${GUEST_MIB} MiB for deltas: guest process, peak`,
        samples: [Math.max(...cached.overheadMiB)],
      },
      { ...BESIDE, name: 'from sources: guest process, peak', samples: [Math.max(...sources.overheadMiB)], note },
      { ...BESIDE, name: 'from sources: agent, largest', samples: [Math.max(...sources.agentMiB)] },
    ]
  },
}
