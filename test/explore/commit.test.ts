// Every interleaving of the two-phase commit: messages in flight, one cut, a crash of either process, a cancel, an
// agent that answers for the dead. The transition functions are the ones the sessions use (rules R18–R20, R24).

import { expect, test } from 'vitest'
import {
  type DestinationEvent,
  type DestinationState,
  destinationMayRun,
  destinationTransition,
  type SourceState,
  sourceMayRun,
  sourceTransition,
} from '../../src/migration/commit-machine.ts'
import { type OwnershipRecord, verdictForDead } from '../../src/migration/ownership-record.ts'
import { explore, type Model, type Step } from './explorer.ts'

interface World {
  source: SourceState | 'dead'
  destination: DestinationState | 'dead'
  /** Records as the agents would read them. */
  sourceRecord: OwnershipRecord['state']
  destinationRecord: OwnershipRecord['state'] | null
  toSource: string[]
  toDestination: string[]
  linked: boolean
  sourceKnowsCut: boolean
  destinationKnowsCut: boolean
  faults: number
  cancelled: boolean
}

const INITIAL: World = {
  source: 'running',
  destination: 'receiving',
  sourceRecord: 'owner',
  destinationRecord: null,
  toSource: [],
  toDestination: [],
  linked: true,
  sourceKnowsCut: false,
  destinationKnowsCut: false,
  faults: 0,
  cancelled: false,
}

const record = (state: OwnershipRecord['state'], role: 'source' | 'destination'): OwnershipRecord => ({
  version: 1,
  guest: 'g',
  epoch: 2,
  state,
  migration: 'm',
  role,
  peer: 'p',
})

/** Carries out a source event on a copy of the world. */
function source(world: World, event: Parameters<typeof sourceTransition>[1]): World {
  const next = structuredClone(world)
  if (next.source === 'dead') return next
  const { state, actions } = sourceTransition(next.source, event)
  next.source = state
  for (const action of actions) {
    if (action === 'record-released') next.sourceRecord = 'released'
    if (action === 'record-aborted') next.sourceRecord = 'aborted'
    if (action === 'record-done') next.sourceRecord = 'done'
    if (action === 'record-reclaimed') next.sourceRecord = 'aborted'
    if (action === 'send-commit' && next.linked) next.toDestination.push('commit')
    if (action === 'send-not-released' && next.linked) next.toDestination.push('not-released')
    if (action === 'send-done' && next.linked) next.toDestination.push('done')
  }
  return next
}

function destination(world: World, event: Parameters<typeof destinationTransition>[1]): World {
  const next = structuredClone(world)
  if (next.destination === 'dead') return next
  const { state, actions } = destinationTransition(next.destination, event)
  next.destination = state
  for (const action of actions) {
    if (action === 'record-incoming') next.destinationRecord = 'incoming'
    if (action === 'record-owner') next.destinationRecord = 'owner'
    if (action === 'record-dropped') next.destinationRecord = 'dropped'
    if (action === 'send-prepared' && next.linked) next.toSource.push('prepared')
    if (action === 'send-active' && next.linked) next.toSource.push('active')
  }
  return next
}

function successors(world: World, maxFaults: number): Step<World>[] {
  const steps: Step<World>[] = []
  const add = (label: string, state: World): void => void steps.push({ label, state })
  const { source: s, destination: d } = world

  if (s === 'running' && world.linked) {
    const next = source(world, 'stop')
    next.toDestination.push('state')
    add('source pauses and sends the last round', next)
  }
  if ((s === 'running' || s === 'paused') && !world.cancelled) {
    const next = source(world, 'give-up')
    next.cancelled = true
    if (next.linked) next.toDestination.push('abort')
    add('source gives up', next)
  }
  const forSource = world.toSource[0]
  if (forSource !== undefined && s !== 'dead') {
    const next = structuredClone(world)
    next.toSource.shift()
    // An aborted session has closed its link: what arrives then is never read.
    if (s === 'aborted' || s === 'reclaimed') add(`source ignores ${forSource}`, next)
    else add(`source takes ${forSource}`, source(next, forSource as 'prepared'))
  }
  const forDestination = world.toDestination[0]
  if (forDestination !== undefined && d !== 'dead') {
    const next = structuredClone(world)
    next.toDestination.shift()
    const event = (forDestination === 'state' ? 'proven' : forDestination) as DestinationEvent
    if (event === 'proven' && d !== 'receiving') add('destination ignores state', next)
    else if (event === 'done' && d !== 'owner' && d !== 'settled') add('destination ignores done', next)
    else if (event === 'abort' && (d === 'owner' || d === 'settled')) add('destination ignores abort', next)
    else add(`destination takes ${forDestination}`, destination(next, event))
  }
  addFaults(world, maxFaults, add)
  addRecovery(world, add)
  return steps
}

function addFaults(world: World, maxFaults: number, add: (label: string, state: World) => void): void {
  if (world.faults >= maxFaults) return
  if (world.linked) {
    // What was in flight may be read before the cut is noticed, or be lost: both orders are explored, because the
    // messages stay in the queues until their side knows of the cut.
    add('cut', { ...structuredClone(world), linked: false, faults: world.faults + 1 })
  }
  for (const side of ['source', 'destination'] as const) {
    if (world[side] === 'dead') continue
    const next = structuredClone(world)
    next[side] = 'dead'
    next.linked = false
    next.faults++
    next[side === 'source' ? 'toSource' : 'toDestination'] = []
    add(`${side} process dies`, next)
  }
}

function addRecovery(world: World, add: (label: string, state: World) => void): void {
  const { source: s, destination: d } = world
  if (world.linked) return
  if (s !== 'dead' && !world.sourceKnowsCut) {
    const next = source(world, 'cut')
    add('source sees the cut', { ...next, sourceKnowsCut: true, toSource: [] })
  }
  if (d !== 'dead' && !world.destinationKnowsCut) {
    const next = destination(world, 'cut')
    add('destination sees the cut', { ...next, destinationKnowsCut: true, toDestination: [] })
  }
  if (world.sourceKnowsCut && s === 'released') askDestination(world, add)
  if (world.destinationKnowsCut && (d === 'incoming' || d === 'owner')) askSource(world, add)
}

/** The source asks the destination, or the agent of a dead one (R20). */
function askDestination(world: World, add: (label: string, state: World) => void): void {
  const d = world.destination
  if (d === 'owner' || d === 'settled') return add('source hears: owner', source(world, 'active'))
  if (d !== 'dead') return
  const held = world.destinationRecord === null ? null : record(world.destinationRecord, 'destination')
  const { verdict, write } = verdictForDead(held, 'm')
  const next = structuredClone(world)
  if (write !== null) next.destinationRecord = write.state
  if (verdict === 'dropped') add('source hears: dropped', source(next, 'peer-dropped'))
  if (verdict === 'owner') add('source hears: owner, and dead', source(next, 'active'))
}

/** The destination asks the source, or the agent of a dead one. */
function askSource(world: World, add: (label: string, state: World) => void): void {
  const { source: s, destination: d } = world
  if (d !== 'incoming') return
  if (s === 'dead') {
    const { verdict, write } = verdictForDead(record(world.sourceRecord, 'source'), 'm')
    const next = structuredClone(world)
    if (write !== null) next.sourceRecord = write.state
    if (verdict === 'released') add('destination hears from the agent: released', destination(next, 'commit'))
    if (verdict === 'not-released') add('destination hears from the agent: kept', destination(next, 'not-released'))
    return
  }
  if (s === 'released' || s === 'done') add('destination hears: released', destination(world, 'commit'))
  if (s === 'aborted' || s === 'reclaimed') add('destination hears: kept', destination(world, 'not-released'))
}

function model(maxFaults: number): Model<World> {
  const runsAtSource = (world: World): boolean => world.source !== 'dead' && sourceMayRun(world.source)
  const runsAtDestination = (world: World): boolean =>
    world.destination !== 'dead' && destinationMayRun(world.destination)
  return {
    initial: INITIAL,
    successors: (world) => successors(world, maxFaults),
    violation: (world) => {
      if (runsAtSource(world) && runsAtDestination(world)) return 'the guest runs on two hosts'
      // A source that is done has discarded its memory: somebody must hold the guest, or have held it and died.
      if (world.source === 'done' && world.destinationRecord !== 'owner') return 'discarded before anyone owned it'
      return null
    },
    mayEnd: (world) => {
      if (runsAtSource(world) || runsAtDestination(world)) return true
      // Both processes dead, or the process that held the only good copy dead: the guest is lost, not in doubt.
      return world.source === 'dead' || world.destination === 'dead'
    },
  }
}

test('one fault anywhere: one owner, never two, never none while a process with the guest lives', () => {
  const result = explore(model(1))
  expect(result.violation).toBeNull()
  expect(result.states).toBeGreaterThan(60)
})

test('two faults anywhere keep the same rules', () => {
  expect(explore(model(2)).violation).toBeNull()
})

test('a source that dies alone leaves the guest to a prepared destination', () => {
  const base = model(1)
  const result = explore({
    ...base,
    mayEnd: (world) => {
      if (world.source !== 'dead') return base.mayEnd(world)
      return world.destination === 'dropped' || world.destination === 'owner' || world.destination === 'settled'
    },
  })
  expect(result.violation).toBeNull()
})

test('the explorer sees a commit that is sent before it is recorded', () => {
  const base = model(1)
  const result = explore({
    ...base,
    successors: (world) =>
      base.successors(world).map((step) =>
        // The broken variant: a source that resumes on a cut although it has released the guest.
        step.label === 'source sees the cut' && world.source === 'released'
          ? { ...step, state: { ...step.state, source: 'aborted' as const } }
          : step,
      ),
  })
  expect(result.violation?.rule).toBe('the guest runs on two hosts')
})
