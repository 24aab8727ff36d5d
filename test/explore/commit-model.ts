// The commit as a model for the explorer: two processes, their agents, one link and an operator, for a movement that
// has everything at the destination before the guest runs there (plain) and for one that pulls (R22). Out of the same
// pure functions as the sessions use. Variants break one rule each. Explored by commit.test.ts.

import {
  type DestinationEvent,
  destinationMayRun,
  destinationTransition,
  type SourceEvent,
  sourceTransition,
} from '../../src/migration/commit-machine.ts'
import type { Verdict } from '../../src/migration/ownership-record.ts'
import { mayResolve } from '../../src/migration/resolution.ts'
import type { Model, Step } from './explorer.ts'
import {
  askAgent,
  carryOut,
  FIRST,
  type Hosts,
  otherSide,
  queueTo,
  runsAtDestination,
  runsAtSource,
  type Side,
} from './hosts.ts'

export interface Variant {
  readonly pull: boolean
  /** Cuts, crashes of a process, losses of a host; together. */
  readonly faults: number
  /** Decisions of an operator. */
  readonly decisions: number
  /** The operator takes an unreachable host for dead whether it is or not. */
  readonly operatorErrs?: boolean
  /** The source keeps `pull` out of its records. */
  readonly recordsForgetPull?: boolean
  /** The destination runs although its record still says `incoming`. */
  readonly runsUnrecorded?: boolean
  /** The source takes "it runs here" for "it is whole here". */
  readonly activeIsComplete?: boolean
}

export interface World extends Hosts {
  destinationRecordPulls: boolean
  /** Pages that the destination lacks, and pages on their way to it. */
  missing: number
  pagesUnderWay: number
  cancelled: boolean
  /** What has happened. */
  tookStale: boolean
  ranThere: boolean
  wholeThere: boolean
  /** The destination was still pulling when one of the two died. */
  diedWhilePulling: boolean
}

const INITIAL: World = {
  ...FIRST,
  destinationRecordPulls: false,
  missing: 0,
  pagesUnderWay: 0,
  cancelled: false,
  tookStale: false,
  ranThere: false,
  wholeThere: false,
  diedWhilePulling: false,
}

export const runsSomewhere = (world: World): boolean => runsAtSource(world) || runsAtDestination(world)

type Add = (label: string, state: World) => void

export function commitModel(variant: Variant): Model<World> {
  const { pull } = variant

  /** Carries out a source event on a copy of the world. */
  function source(world: World, event: SourceEvent): World {
    const next = structuredClone(world)
    if (next.source === 'dead') return next
    const { state, actions } = sourceTransition(next.source, event)
    next.source = state
    carryOut(next, 'source', actions)
    return next
  }

  function destination(world: World, event: DestinationEvent): World {
    const next = structuredClone(world)
    if (next.destination === 'dead') return next
    const { state, actions } = destinationTransition(next.destination, event)
    next.destination = state
    const messages = actions.map((action) => (pull && action === 'send-active' ? 'send-active-pulling' : action))
    carryOut(next, 'destination', messages, variant.runsUnrecorded ? ['record-pulling'] : [])
    if (actions.includes('record-owner')) next.destinationRecordPulls = false
    if (actions.includes('record-pulling')) next.destinationRecordPulls = true
    next.ranThere ||= destinationMayRun(state)
    next.wholeThere ||= state === 'owner'
    return next
  }

  function ask(world: World, side: Side): { verdict: Verdict | 'unreachable'; next: World } {
    const next = structuredClone(world)
    const pulls = side === 'source' ? pull && !variant.recordsForgetPull : world.destinationRecordPulls
    return { verdict: askAgent(next, side, pulls), next }
  }

  function addMessages(world: World, add: Add): void {
    const { source: s, destination: d } = world
    const [forSource] = world.toSource
    if (forSource !== undefined && s !== 'dead') {
      const next = structuredClone(world)
      next.toSource.shift()
      const event = (variant.activeIsComplete && forSource === 'active-pulling' ? 'active' : forSource) as SourceEvent
      // An aborted session has closed its link: what arrives then is never read.
      if (s === 'aborted') add(`source ignores ${forSource}`, next)
      else add(`source takes ${forSource}`, source(next, event))
    }
    const [forDestination] = world.toDestination
    if (forDestination === undefined || d === 'dead') return
    const next = structuredClone(world)
    next.toDestination.shift()
    const isHint = forDestination === 'abort' && d !== 'receiving' && d !== 'incoming' && d !== 'dropped'
    const isLate = forDestination === 'state' && d !== 'receiving'
    const isEarly = forDestination === 'done' && d !== 'owner' && d !== 'settled'
    if (isHint || isLate || isEarly) return add(`destination ignores ${forDestination}`, next)
    const event = forDestination === 'state' ? 'proven' : forDestination
    const pulling = event === 'commit' && pull
    add(
      `destination takes ${forDestination}`,
      destination(next, (pulling ? 'commit-pulling' : event) as DestinationEvent),
    )
  }

  /** Pages travel on channels of their own, beside the messages. */
  function addPages(world: World, add: Add): void {
    const { source: s, destination: d, missing, pagesUnderWay } = world
    const serves = s === 'released' || s === 'serving'
    if (serves && world.linked && pagesUnderWay < missing)
      add('source sends a page', { ...structuredClone(world), pagesUnderWay: pagesUnderWay + 1 })
    if (pagesUnderWay > 0 && (d === 'incoming' || d === 'pulling')) {
      const next = { ...structuredClone(world), pagesUnderWay: pagesUnderWay - 1, missing: missing - 1 }
      add('a page arrives', next)
    }
    if (d === 'pulling' && missing === 0) add('destination has every page', destination(world, 'complete'))
  }

  function addFaults(world: World, add: Add): void {
    if (world.faults >= variant.faults) return
    const faults = world.faults + 1
    // What was in flight may be read before the cut is noticed, or be lost: both orders are explored, because the
    // messages stay in the queues until their side knows of the cut.
    if (world.linked) add('cut', { ...structuredClone(world), linked: false, faults })
    for (const side of ['source', 'destination'] as const) {
      if (world[side] === 'dead') continue
      const next = { ...structuredClone(world), [side]: 'dead' as const, linked: false, crashed: true, faults }
      next.diedWhilePulling ||= world.destination === 'pulling'
      next[queueTo(side)] = []
      if (side === 'destination') next.pagesUnderWay = 0
      add(`${side} process dies`, next)
      if (world.hostGone === null) add(`${side} host dies`, { ...structuredClone(next), hostGone: side })
    }
  }

  function addRecovery(world: World, add: Add): void {
    const { source: s, destination: d } = world
    if (world.linked) return
    if (s !== 'dead' && !world.sourceKnowsCut) {
      add('source sees the cut', { ...source(world, 'cut'), sourceKnowsCut: true, toSource: [] })
    }
    if (d !== 'dead' && !world.destinationKnowsCut) {
      const next = destination(world, 'cut')
      add('destination sees the cut', { ...next, destinationKnowsCut: true, toDestination: [], pagesUnderWay: 0 })
    }
    if (world.sourceKnowsCut && (s === 'released' || s === 'serving')) {
      const { verdict, next } = ask(world, 'destination')
      if (verdict === 'dropped') add('source hears: dropped', source(next, 'peer-dropped'))
      if (verdict === 'owner') add('source hears: owner', source(next, pull ? 'complete' : 'active'))
      if (verdict === 'lost') add('source hears: lost', source(next, 'peer-lost'))
    }
    if (world.destinationKnowsCut && (d === 'incoming' || d === 'pulling' || d === 'owner')) {
      const { verdict, next } = ask(world, 'source')
      if (verdict === 'released' && d === 'incoming')
        add('destination hears: released', destination(next, pull ? 'commit-pulling' : 'commit'))
      if (verdict === 'not-released') add('destination hears: kept', destination(next, 'not-released'))
      if (verdict === 'lost') add('destination hears: lost', destination(next, 'peer-lost'))
    }
    if (world.sourceKnowsCut && world.destinationKnowsCut) addRedial(world, add)
  }

  function addRedial(world: World, add: Add): void {
    const { source: s, destination: d } = world
    if (s !== 'released' && s !== 'serving' && s !== 'reclaimed') return
    if (d !== 'incoming' && d !== 'pulling' && d !== 'owner') return
    const whole = pull ? 'complete' : 'active'
    const first = { incoming: 'ask', pulling: 'active-pulling', owner: whole }[d]
    const queues = { toSource: [first], toDestination: [], pagesUnderWay: 0 }
    const next = { ...structuredClone(world), ...queues, linked: true }
    add(`redialled: ${first}`, { ...next, sourceKnowsCut: false, destinationKnowsCut: false })
  }

  /** The operator decides by the rule of resolution.ts; whoever decided closes the link. */
  function addOperator(world: World, add: Add): void {
    if (world.decisions >= variant.decisions) return
    for (const side of ['source', 'destination'] as const) {
      const state = world[side]
      const other = otherSide(side)
      if (state === 'dead') continue
      const { verdict, next } = ask(world, other)
      const peerIsDead = world[other] === 'dead' || variant.operatorErrs === true
      const closed = { linked: false, decisions: world.decisions + 1 }
      for (const what of ['take-stale', 'abandon'] as const) {
        // The network between the hosts may be down for the operator's question alone.
        const may = (answer: Verdict | 'unreachable'): boolean =>
          mayResolve(side, state, what, answer, peerIsDead, pull) === null
        if (!may(verdict) && (world.linked || !may('unreachable'))) continue
        if (side === 'destination')
          add(`operator: ${what} at the destination`, { ...destination(next, 'abandon'), ...closed })
        else
          add(`operator: ${what} at the source`, {
            ...source(next, what),
            ...closed,
            tookStale: world.tookStale || what === 'take-stale',
          })
      }
    }
  }

  function successors(world: World): Step<World>[] {
    const steps: Step<World>[] = []
    const add: Add = (label, state) => void steps.push({ label, state })
    const { source: s } = world
    if (s === 'running' && world.linked) {
      const next = source(world, 'stop')
      next.toDestination.push('state')
      add('source pauses and sends the last round', { ...next, missing: pull ? 2 : 0 })
    }
    if (['running', 'paused', 'released', 'serving'].includes(s) && !world.cancelled) {
      const next = { ...source(world, 'give-up'), cancelled: true }
      if (next.linked && next.source === 'aborted') next.toDestination.push('abort')
      add('the migration is cancelled', next)
    }
    addMessages(world, add)
    addPages(world, add)
    addFaults(world, add)
    addRecovery(world, add)
    addOperator(world, add)
    return steps
  }

  return {
    initial: INITIAL,
    successors,
    violation: (world) => {
      const { source: s, destination: d } = world
      // An operator who is wrong about a host he cannot see makes it run twice until the hosts meet (R21).
      if (!variant.operatorErrs && runsAtSource(world) && runsAtDestination(world)) return 'the guest runs on two hosts'
      if ((d === 'owner' || d === 'settled') && world.missing > 0) return 'complete with pages missing'
      if (s === 'done' && !world.wholeThere) return 'discarded before it was whole elsewhere'
      if (runsAtSource(world) && world.ranThere && !world.tookStale) return 'resumed as it was, though it had run on'
      if ((s === 'lost' || d === 'lost') && !world.crashed && world.decisions === 0) return 'lost without a cause'
      return null
    },
    mayEnd: (world) => {
      if (runsAtSource(world) && runsAtDestination(world)) return false
      if (runsAtDestination(world) && world.destination !== 'pulling') return true
      if (runsAtSource(world)) return true
      if (!world.crashed && world.decisions === 0) return false
      // Dead or lost; in doubt only while the host that could tell is gone.
      const undecided = (side: Side): boolean =>
        ['paused', 'released', 'serving', 'receiving', 'incoming', 'pulling'].includes(world[side])
      if (undecided('source')) return world.hostGone === 'destination'
      return !undecided('destination') || world.hostGone === 'source'
    },
  }
}
