// Offers of guests between agents: the question whether a destination would take one, which changes nothing anywhere, and
// what it looks at first. Called by agent.ts.

import { randomBytes } from 'node:crypto'
import { GodwitError } from '../errors.ts'
import type { Reservation } from '../guest-process/host-port.ts'
import { refuseLockedSoft } from '../guest-process/refusals.ts'
import type { MigrationSettings } from '../migration/settings.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../wire/protocol.ts'
import { type AgentAddress, AgentClient, noAgentAt } from './client.ts'
import type { GuestEntry } from './guest-table.ts'
import { reservedSchema } from './schemas.ts'

/** A destination that is asked whether it would take a guest answers within this. */
const CHECK_TIMEOUT_MS = 10_000

/** Asks destinations whether they would take a guest. */
export class Questions {
  readonly #asked = new Set<string>()

  /** Whether it is the id of a question that is open: whoever is asked under it is the one who asks. */
  has(migration: string): boolean {
    return this.#asked.has(migration)
  }

  /** The name of the agent that would take it. Throws why the guest cannot go, the agent's refusal, or `unreachable`. */
  async wouldTake(
    to: AgentAddress,
    entry: GuestEntry,
    settings: MigrationSettings,
    source: { readonly agent: string; readonly agentPort: number },
  ): Promise<string> {
    const { config, status } = entry
    refuseLockedSoft(config, settings)
    const migration = randomBytes(16).toString('hex')
    const reservation: Reservation = {
      migration,
      token: randomBytes(16).toString('hex'),
      generation: 0,
      epoch: (status?.epoch ?? 0) + 1,
      guest: config,
      paused: status?.state === 'paused',
      source: { ...source, host: settings.advertise, controlPort: 1, dataPorts: [1] },
      settings,
      protocol: PROTOCOL_VERSION,
      capabilities: [...CAPABILITIES],
    }
    this.#asked.add(migration)
    try {
      return await ask(to, reservation)
    } finally {
      this.#asked.delete(migration)
    }
  }
}

async function ask(to: AgentAddress, reservation: Reservation): Promise<string> {
  const client = new AgentClient(to)
  const late = AbortSignal.timeout(CHECK_TIMEOUT_MS)
  const answer = await client.call<unknown>('POST', '/v1/reservations?check=true', reservation, late)
  const parsed = reservedSchema.safeParse(answer)
  if (!parsed.success) throw noAgentAt(to)
  return parsed.data.agent
}

/** Refuses a source that speaks another protocol (`wrong-version`) or asks for more (`missing-capability`). */
export function requireSameProtocol(reservation: Reservation, agentName: string): void {
  if (reservation.protocol !== PROTOCOL_VERSION) {
    const ours = `agent ${agentName} speaks protocol ${PROTOCOL_VERSION}, the source ${reservation.protocol}`
    throw new GodwitError('wrong-version', ours, { hint: 'run the same version of Godwit on both hosts' })
  }
  const missing = reservation.capabilities.filter((name) => !(CAPABILITIES as readonly string[]).includes(name))
  if (missing.length > 0) {
    throw new GodwitError('missing-capability', `agent ${agentName} cannot: ${missing.join(', ')}`, {
      hint: 'run the same version of Godwit on both hosts',
    })
  }
}
