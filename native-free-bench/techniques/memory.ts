// Resident memory: what a guest process costs beyond its guest, what an agent costs, whether fifty hops leave anything
// behind, and how fast a host has its memory back.

import {
  type Agent,
  childrenOf,
  migrate,
  residentBytes,
  startAgent,
  startGuest,
  stopAgent,
  untilGuestsAreGone,
} from '../agents.ts'
import { MIB } from '../demo.ts'
import type { Context, Row, Technique } from '../harness.ts'

const MAX_GUEST_OVERHEAD_MIB = 160
const MAX_AGENT_MIB = 120
const MAX_AGENT_GROWTH_MIB = 10
const MAX_RETURN_MS = 1000
const GUEST_MIB = 64

interface Seen {
  readonly overheadMiB: number[]
  readonly agentMiB: number[]
  readonly returnMs: number[]
}

/** Moves the guest there and back; records every process after each hop. */
async function hop(agents: readonly [Agent, Agent], index: number, seen: Seen): Promise<void> {
  const [from, to] = index % 2 === 0 ? agents : ([agents[1], agents[0]] as const)
  const report = await migrate('traveller', from, to)
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

export const memory: Technique = {
  name: 'memory',
  about: 'resident memory of guest processes and agents over many hops, and how fast it returns',
  async run(context: Context): Promise<Row[]> {
    const [early, late] = context.quick ? [2, 6] : [10, 50]
    const agents: Agent[] = []
    try {
      agents.push(await startAgent('alpha'), await startAgent('beta'))
      const pair = agents as [Agent, Agent]
      await startGuest(pair[0], 'traveller', `${GUEST_MIB}MiB`)
      const seen: Seen = { overheadMiB: [], agentMiB: [], returnMs: [] }
      for (let index = 0; index < late; index++) {
        await hop(pair, index, seen)
        if ((index + 1) % 10 === 0) context.log(`${index + 1} hops`)
      }
      const growth = (seen.agentMiB[late - 1] as number) - (seen.agentMiB[early - 1] as number)
      return [
        atMost('guest process beyond its guest, peak', 'MiB', [Math.max(...seen.overheadMiB)], MAX_GUEST_OVERHEAD_MIB),
        atMost('agent, largest', 'MiB', [Math.max(...seen.agentMiB)], MAX_AGENT_MIB),
        atMost(`agent, hop ${late} over hop ${early}`, 'MiB', [growth], MAX_AGENT_GROWTH_MIB),
        atMost("host's memory back, slowest", 'ms', [Math.max(...seen.returnMs)], MAX_RETURN_MS),
      ]
    } finally {
      for (const agent of agents) await stopAgent(agent)
    }
  },
}
