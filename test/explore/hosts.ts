// What the models of the commit share: two processes, their agents with a record each, and one link with its queues. States and
// verdicts come from the same pure functions as the sessions use.

import {
  type DestinationState,
  destinationMayRun,
  type SourceState,
  sourceMayRun,
} from '../../src/migration/commit-machine.ts'
import {
  type OwnershipRecord,
  type Verdict,
  verdictForDead,
  verdictOfState,
} from '../../src/migration/ownership-record.ts'

export type Side = 'source' | 'destination'

export interface Hosts {
  source: SourceState | 'dead'
  destination: DestinationState | 'dead'
  /** Records as the agents would read them. */
  sourceRecord: OwnershipRecord['state']
  destinationRecord: OwnershipRecord['state'] | null
  /** A host that is gone, its agent with it. */
  hostGone: Side | null
  toSource: string[]
  toDestination: string[]
  linked: boolean
  sourceKnowsCut: boolean
  destinationKnowsCut: boolean
  /** So far. */
  faults: number
  decisions: number
  crashed: boolean
}

export const FIRST: Hosts = {
  source: 'running',
  destination: 'receiving',
  sourceRecord: 'owner',
  destinationRecord: null,
  hostGone: null,
  toSource: [],
  toDestination: [],
  linked: true,
  sourceKnowsCut: false,
  destinationKnowsCut: false,
  faults: 0,
  decisions: 0,
  crashed: false,
}

/** As if whole. */
export const runsAtSource = ({ source }: Hosts): boolean => source !== 'dead' && sourceMayRun(source)
export const runsAtDestination = ({ destination }: Hosts): boolean =>
  destination !== 'dead' && destinationMayRun(destination)

/** The queue of those that have not reached this side yet. */
export const queueTo = (side: Side): 'toSource' | 'toDestination' => (side === 'source' ? 'toSource' : 'toDestination')
export const otherSide = (side: Side): Side => (side === 'source' ? 'destination' : 'source')

/** Carries out in `world` what a transition of this side asks for. `unrecorded`: records that a variant does not write. */
export function carryOut(
  world: Hosts,
  side: Side,
  actions: readonly string[],
  unrecorded: readonly string[] = [],
): void {
  for (const action of actions) {
    if (action.startsWith('record-') && !unrecorded.includes(action)) {
      world[side === 'source' ? 'sourceRecord' : 'destinationRecord'] = recordOf(action.slice('record-'.length))
    }
    if (action.startsWith('send-') && world.linked) world[queueTo(otherSide(side))].push(action.slice('send-'.length))
  }
}

function recordOf(what: string): OwnershipRecord['state'] {
  // The guest is here again, under a new epoch; to the old destination that is the same as never let go.
  if (what === 'reclaimed') return 'aborted'
  return what === 'pulling' ? 'owner' : (what as OwnershipRecord['state'])
}

/** What the agent of `side` answers; it writes into its record first. `pull`: as its records say. */
export function askAgent(world: Hosts, side: Side, pull: boolean): Verdict | 'unreachable' {
  if (world.hostGone === side) return 'unreachable'
  const state = world[side]
  if (state !== 'dead') return verdictOfState(side, state)
  const which = side === 'source' ? 'sourceRecord' : 'destinationRecord'
  const held = world[which]
  if (held === null) return 'unknown'
  const [version, guest, epoch, migration, peer] = [1 as const, 'g', 2, 'm', 'p']
  const record = { version, guest, epoch, state: held, migration, role: side, peer, ...(pull ? { pull: true } : {}) }
  const { verdict, write } = verdictForDead(record, migration)
  if (write !== null) world[which] = write.state
  return verdict
}
