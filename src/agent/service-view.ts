// What an agent says of a guest's service: where clients find it, where gateways find the guest's process, and where the
// guest went. Agents ask each other for it, and `godwit gateway` asks them.

import { z } from 'zod'
import { GodwitError } from '../errors.ts'
import { WHERE_HOPS, WHERE_TIMEOUT_MS } from '../limits.ts'
import { placeKey } from '../wire/host-key.ts'
import { type AgentAddress, AgentClient, parseAddress } from './client.ts'

export const serviceSchema = z.object({
  guest: z.string(),
  id: z.string(),
  agent: z.string(),
  program: z.string(),
  vcpus: z.int(),
  memoryBytes: z.number(),
  cluster: z.boolean().describe('whether clients are redirected as in Redis Cluster'),
  here: z.boolean().describe('whether a process of the guest is at this agent'),
  linePort: z.int().nullable().describe('where gateways reach that process'),
  servicePort: z.int().nullable().describe('where clients are served'),
  agents: z.array(z.string()).describe('HOST:PORT of agents where the guest went, comes from or is going'),
  clients: z.int(),
  commands: z.number(),
  waiting: z.int().describe('commands without a reply yet'),
})
export type ServiceView = z.output<typeof serviceSchema>

/** Which pages are where, as one host knows it. */
export const pagesSchema = z.object({
  epoch: z.int(),
  revision: z.int().describe('goes up with every change of a table that both hosts keep'),
  pageCount: z.int(),
  runs: z.array(z.object({ first: z.int(), count: z.int(), owner: z.enum(['here', 'there', 'in-flight']) })),
})
export type PagesView = z.output<typeof pagesSchema>

/** An agent's answer; null: it knows no such guest. Throws when it cannot be asked. */
async function ask(address: AgentAddress, guest: string): Promise<ServiceView | null> {
  const path = `/v1/guests/${encodeURIComponent(guest)}/service`
  try {
    const signal = AbortSignal.timeout(WHERE_TIMEOUT_MS)
    return serviceSchema.parse(await new AgentClient(address).call('GET', path, undefined, signal))
  } catch (thrown) {
    if (thrown instanceof GodwitError && thrown.code === 'no-such-guest') return null
    throw thrown
  }
}

export interface Whereabout {
  readonly address: AgentAddress
  readonly view: ServiceView
}

/**
 * Asks these agents, and those that they name, where the guest is. `gone`: all of them could be asked, and none of them
 * knows it.
 */
export async function whereIs(
  guest: string,
  agents: readonly AgentAddress[],
): Promise<{ found: Whereabout[]; gone: boolean }> {
  const found: Whereabout[] = []
  const asked = new Set<string>()
  let silent = false
  let next = [...agents]
  while (next.length > 0 && asked.size < WHERE_HOPS) {
    const round = next.filter((address) => !asked.has(placeKey(address))).slice(0, WHERE_HOPS - asked.size)
    for (const address of round) asked.add(placeKey(address))
    const answers = await Promise.allSettled(round.map((address) => ask(address, guest)))
    next = []
    for (const [index, answer] of answers.entries()) {
      if (answer.status === 'rejected') silent = true
      else if (answer.value !== null) {
        const address = round[index] as AgentAddress
        // One that was named twice, as localhost and by its address, is one.
        const known = found.some((each) => placeKey(each.address) === placeKey(address))
        if (!known) found.push({ address, view: answer.value })
        next.push(...answer.value.agents.map((text) => parseAddress(text)))
      }
    }
  }
  return { found, gone: !silent && asked.size > 0 && !found.some(({ view }) => view.here) }
}
