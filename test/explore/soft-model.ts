// Who has what in a soft migration, as a model for the explorer: the world of soft-world.ts, and an operator. Out of the same pure
// functions as the sessions use; what they add is written down as steps here. Variants break one rule each. Explored by
// soft-commit.test.ts.

import {
  type DestinationEvent,
  destinationTransition,
  type SourceEvent,
  sourceTransition,
} from '../../src/migration/commit-machine.ts'
import type { Verdict } from '../../src/migration/ownership-record.ts'
import { mayResolve } from '../../src/migration/resolution.ts'
import type { Model, Step } from './explorer.ts'
import { askAgent, carryOut, otherSide, queueTo, runsAtDestination, runsAtSource, type Side } from './hosts.ts'
import { copy, INITIAL, type SoftVariant, type SoftWorld } from './soft-world.ts'

export function softModel(variant: SoftVariant): Model<SoftWorld> {
  function source(world: SoftWorld, event: SourceEvent): SoftWorld {
    const next = copy(world)
    if (next.source === 'dead') return next
    const { state, actions } = sourceTransition(next.source, event)
    next.source = state
    carryOut(next, 'source', actions)
    return next
  }

  function destination(world: SoftWorld, event: DestinationEvent): SoftWorld {
    const next = copy(world)
    if (next.destination === 'dead') return next
    const { state, actions } = destinationTransition(next.destination, event)
    next.destination = state
    carryOut(next, 'destination', actions)
    return next
  }

  function ask(world: SoftWorld, side: Side): { verdict: Verdict | 'unreachable'; next: SoftWorld } {
    const next = copy(world)
    return { verdict: askAgent(next, side, side === 'source' && !variant.recordsForgetSharing), next }
  }

  type Add = (label: string, state: SoftWorld) => void

  /** source-session.ts, soft-source.ts and source-sharing.ts. */
  function addSource(world: SoftWorld, add: Add): void {
    const { source: s, token, confirmed, cancelled } = world
    const [heard] = world.toSource
    if (heard !== undefined && s !== 'dead') {
      const next = copy(world)
      next.toSource.shift()
      add(`source hears: ${heard}`, hearAtSource(next, heard))
    }
    if (
      s === 'running' &&
      world.linked &&
      !cancelled &&
      world.destination === 'receiving' &&
      world.toDestination.length === 0
    ) {
      add('source names what is stale', copy(world, { toDestination: ['state'] }))
    }
    if (['running', 'offered', 'shared'].includes(s) && !cancelled && !world.mute) {
      const next = s === 'shared' ? copy(world) : source(world, 'give-up')
      if (s === 'running' && next.linked) next.toDestination.push('abort')
      add('the migration is called off', { ...next, cancelled: true })
    }
    if (s === 'retired' && !cancelled)
      add('it is called off too late', { ...source(world, 'give-up'), cancelled: true })
    if (s !== 'shared') return
    const up = world.linked && !world.sourceKnowsCut && !world.brokenSource
    if (up && token === 'source' && !cancelled) {
      add('source gives the token', copy(world, { token: 'to-destination', confirmed: false }))
    }
    if (up && token === 'destination' && !confirmed && !world.homeHeard) {
      add('source knows that it has arrived', copy(world, { confirmed: true }))
    }
    const given = (token === 'destination' && confirmed) || (variant.goneUnconfirmed && token === 'to-destination')
    if (given && !cancelled) add('source has given everything', source(world, 'gone'))
    const decided = token === 'source' || (token === 'destination' && confirmed)
    if (cancelled && decided && !world.homeSaid) {
      const next = copy(world, { homeSaid: true })
      if (next.linked) next.toDestination.push('home')
      add('source calls everything home', next)
    }
    if (world.homeSaid && world.emptyHeard && token === 'source') add('everything is home', source(world, 'home'))
  }

  function hearAtSource(world: SoftWorld, heard: string): SoftWorld {
    const s = world.source
    if (heard === 'prepared') return s === 'running' && !world.cancelled ? source(world, 'share') : world
    if (heard === 'sharing') return s === 'offered' ? source(world, 'sharing') : world
    if (heard === 'ask') return s === 'offered' || s === 'shared' ? source(world, 'ask') : world
    if (heard === 'retired') return copy(world, { emptyHeard: true })
    if (heard === 'crashed') return s === 'shared' || s === 'retired' ? source(world, 'peer-lost') : world
    if (heard === 'broken') return brokenAtSource(world)
    if (heard === 'complete') return completeAtSource(world)
    throw new Error(`the source cannot hear '${heard}'`)
  }

  /** It may hear it before it knows that everything has arrived. */
  function completeAtSource(world: SoftWorld): SoftWorld {
    if (world.source !== 'shared') return world.source === 'retired' ? source(world, 'complete') : world
    return source(source(world, 'gone'), 'complete')
  }

  /** It cannot go on: with everything here it does so alone. */
  function brokenAtSource(world: SoftWorld): SoftWorld {
    const { source: s, token } = world
    if (s !== 'shared' && s !== 'retired') return world
    const next = source(world, s === 'shared' && token === 'source' ? 'home' : 'peer-lost')
    if (next.linked) next.toDestination.push('broken')
    return next
  }

  /** destination-session.ts and destination-sharing.ts. */
  function addDestination(world: SoftWorld, add: Add): void {
    const { destination: d, token, confirmed } = world
    const [heard] = world.toDestination
    if (heard !== undefined && d !== 'dead') {
      const next = copy(world)
      next.toDestination.shift()
      add(`destination hears: ${heard}`, hearAtDestination(next, heard))
    }
    if (d !== 'shared') return
    if (world.goneHeard && token === 'destination') add('destination has everything', destination(world, 'retired'))
    if (world.asking) addAsking(world, add)
    if (!world.homeHeard || world.asking) return
    const up = world.linked && !world.destinationKnowsCut && !world.brokenDestination
    if (up && token === 'destination') {
      add('destination gives the token back', copy(world, { token: 'to-source', confirmed: false }))
    }
    if (up && token === 'source' && !confirmed)
      add('destination knows that it is home', copy(world, { confirmed: true }))
    if (!world.emptyThere && confirmed && token === 'source') {
      const next = copy(world, { emptyThere: true })
      if (next.linked) next.toSource.push('retired')
      add('destination has nothing any more', next)
    }
  }

  /** What has been given may still be read meanwhile. */
  function addAsking(world: SoftWorld, add: Add): void {
    const { verdict, next } = ask(world, 'source')
    if (verdict === 'not-released') add('destination asks its source: kept', notReleased(next))
    else add(`destination asks its source: ${verdict}`, variant.asksBlindly ? loseAtDestination(next) : takeOver(next))
  }

  /** R25: with everything here, and not called home, it depends on nobody. */
  function takeOver(world: SoftWorld): SoftWorld {
    const whole = world.token === 'destination' && !world.homeHeard
    return whole ? destination(world, 'retired') : loseAtDestination(world)
  }

  function loseAtDestination(world: SoftWorld): SoftWorld {
    const next = destination(world, 'peer-lost')
    if (next.linked) next.toSource.push('broken')
    next.lostWhole = next.token === 'destination' && !next.homeHeard
    return next
  }

  /** The exchange of either side has failed: it may have everything, or nothing. */
  function brokenAtDestination(world: SoftWorld, own: boolean): SoftWorld {
    if (world.destination !== 'shared') return world
    if (world.token === 'destination') return takeOver(world)
    if (!own) return copy(world, { asking: true })
    const next = copy(world, { saysBroken: true })
    if (next.linked) next.toSource.push('broken')
    return next
  }

  function commitAtDestination(world: SoftWorld): SoftWorld {
    const { destination: d, brokenDestination } = world
    if (d !== 'incoming' && d !== 'shared') return world
    const next = destination(world, 'commit-sharing')
    return d === 'incoming' && brokenDestination ? brokenAtDestination(next, true) : next
  }

  function hearAtDestination(world: SoftWorld, heard: string): SoftWorld {
    const d = world.destination
    switch (heard) {
      case 'state':
        return d === 'receiving' ? destination(world, 'proven') : world
      case 'abort':
        return d === 'receiving' || d === 'incoming' ? destination(world, 'abort') : world
      case 'commit':
        return commitAtDestination(world)
      case 'retired':
        return d === 'shared' ? copy(world, { goneHeard: true }) : world
      case 'home':
        return d === 'shared' ? copy(world, { homeHeard: true }) : world
      case 'crashed':
        return d === 'shared' ? destination(world, 'peer-lost') : world
      case 'broken':
        return brokenAtDestination(world, false)
      case 'not-released':
        return notReleased(world)
      case 'done':
        return d === 'owner' ? destination(world, 'done') : world
    }
    throw new Error(`the destination cannot hear '${heard}'`)
  }

  /** Whoever has something of a guest that its source says to have kept has lost the rest. */
  function notReleased(world: SoftWorld): SoftWorld {
    if (world.destination === 'shared' && world.token === 'destination') return destination(world, 'peer-lost')
    if (!['receiving', 'incoming', 'shared', 'owner'].includes(world.destination)) return world
    return destination(world, 'not-released')
  }

  /** What is on its way may be read as long as nobody knows of the cut. */
  function addToken(world: SoftWorld, add: Add): void {
    const { token, destination: d, source: s } = world
    if (token === 'to-destination' && d === 'shared' && !world.destinationKnowsCut && !world.brokenDestination)
      add('the token arrives', copy(world, { token: 'destination' }))
    if (token === 'to-source' && (s === 'shared' || s === 'retired') && !world.sourceKnowsCut && !world.brokenSource)
      add('the token comes back', copy(world, { token: 'source' }))
    if (token.startsWith('to-') && (world.brokenSource || world.brokenDestination))
      add('what is on its way is lost', copy(world, { token: 'gone' }))
  }

  function addFaults(world: SoftWorld, add: Add): void {
    if (world.faults >= variant.faults) return
    const faults = world.faults + 1
    if (world.linked) add('cut', copy(world, { linked: false, faults }))
    for (const side of ['source', 'destination'] as const) {
      if (world[side] === 'dead') continue
      const next = copy(world, { [side]: 'dead', linked: false, crashed: true, faults })
      next[queueTo(side)] = []
      if (next.token === side) next.token = 'gone'
      add(`${side} process dies`, next)
      if (world.hostGone === null) add(`${side} host dies`, copy(next, { hostGone: side }))
    }
    if (world.source === 'offered' && !world.brokenSource) {
      add(
        'the exchange of the source fails',
        source(copy(world, { brokenSource: true, crashed: true, faults }), 'give-up'),
      )
    }
    if ((world.source === 'shared' || world.source === 'retired') && !world.brokenSource) {
      const next = copy(world, { brokenSource: true, crashed: true, faults })
      const given = world.source === 'retired' || world.token !== 'source'
      if (given && next.linked) next.toDestination.push('broken')
      add('the exchange of the source fails', given ? { ...next, mute: true } : brokenAtSource(next))
    }
    // Nobody has heard of the exchange yet: it is found when pages and vCPUs may come.
    if (world.destination === 'incoming' && !world.brokenDestination) {
      add('the exchange of the destination fails', copy(world, { brokenDestination: true, crashed: true, faults }))
    }
    if (world.destination === 'shared' && !world.brokenDestination) {
      const next = copy(world, { brokenDestination: true, crashed: true, faults })
      add('the exchange of the destination fails', brokenAtDestination(next, true))
    }
    // A program throws where the token is.
    if (world.token === 'source' && world.source === 'shared') {
      const next = source(copy(world, { crashed: true, faults }), 'peer-lost')
      if (next.linked) next.toDestination.push('crashed')
      add('the guest crashes at the source', next)
    }
    if (world.token === 'destination' && world.destination === 'shared') {
      const next = destination(copy(world, { crashed: true, faults }), 'peer-lost')
      if (next.linked) next.toSource.push('crashed')
      add('the guest crashes at the destination', next)
    }
  }

  function addRecovery(world: SoftWorld, add: Add): void {
    const { source: s, destination: d, token } = world
    const over = s === 'done' || s === 'aborted' || s === 'lost' || s === 'abandoned'
    if (world.linked && over && world.toDestination.length === 0 && world.toSource.length === 0) {
      // Its session has ended, and its connections with it.
      if (!['settled', 'dropped', 'lost', 'abandoned'].includes(d))
        add('source hangs up', copy(world, { linked: false }))
      return
    }
    if (world.linked && d === 'lost' && world.toSource.length === 0) {
      add('destination hangs up', copy(world, { linked: false }))
      return
    }
    if (world.linked) return
    if (s !== 'dead' && !world.sourceKnowsCut) {
      const next = ['running', 'offered', 'shared', 'retired'].includes(s) ? source(world, 'cut') : copy(world)
      add('source sees the cut', { ...next, sourceKnowsCut: true, toSource: [] })
    }
    if (d !== 'dead' && !world.destinationKnowsCut) {
      const next = ['receiving', 'incoming', 'shared', 'owner'].includes(d) ? destination(world, 'cut') : copy(world)
      add('destination sees the cut', { ...next, destinationKnowsCut: true, toDestination: [] })
    }
    if (world.sourceKnowsCut && (s === 'offered' || s === 'shared' || s === 'retired')) {
      const { verdict, next } = ask(world, 'destination')
      if (verdict === 'owner' && s !== 'offered') add('source hears: owner', completeAtSource(next))
      if (verdict === 'lost' || verdict === 'dropped') {
        const whole = s === 'shared' && (token === 'source' || variant.keepsWhatItHas)
        const event = whole ? 'home' : verdict === 'lost' ? 'peer-lost' : 'peer-dropped'
        add(`source hears of its peer: ${verdict}`, source(next, event))
      }
      // R25: whatever becomes of the destination.
      const keepsIt = s === 'shared' && world.homeSaid && (token === 'source' || variant.goesOnUnwhole)
      if (keepsIt) add('source has everything, and is cut off', source(next, 'home'))
    }
    if (world.destinationKnowsCut && (d === 'incoming' || d === 'shared' || d === 'owner')) {
      const { verdict, next } = ask(world, 'source')
      if (verdict === 'released' && d === 'incoming' && variant.runsOnReleased)
        add('destination runs it', destination(next, 'commit'))
      if (verdict === 'released' && d === 'owner') add('destination is told no more', destination(next, 'done'))
      if (verdict === 'not-released') add('destination hears of its peer: kept', notReleased(next))
      // R25: whatever becomes of the source.
      const takesOver = d === 'shared' && (token === 'destination' || variant.takesOverUnwhole) && !world.homeHeard
      if (takesOver) add('destination has everything, and is cut off', destination(next, 'retired'))
      if (verdict === 'lost') {
        const whole = d === 'shared' && token === 'destination'
        add('destination hears of its peer: lost', destination(next, whole ? 'retired' : 'peer-lost'))
      }
    }
    if (world.sourceKnowsCut && world.destinationKnowsCut) addRedial(world, add)
  }

  function addRedial(world: SoftWorld, add: Add): void {
    const { source: s, destination: d, token } = world
    if (s !== 'offered' && s !== 'shared' && s !== 'retired') return
    if ((d !== 'incoming' && d !== 'shared' && d !== 'owner') || (d === 'shared' && world.asking)) return
    const toSource = [{ incoming: 'ask', shared: 'sharing', owner: 'complete' }[d]]
    if (d === 'shared' && world.emptyThere) toSource.push('retired')
    else if (d === 'shared' && world.saysBroken && variant.saysOnce !== 'destination') toSource.push('broken')
    const toDestination = s === 'retired' ? ['retired'] : []
    if (world.mute && variant.saysOnce !== 'source') toDestination.push('broken')
    else if (s !== 'retired' && world.homeSaid) toDestination.push('home')
    // R25: what has not arrived has never left, as both exchanges find.
    const home = { 'to-destination': 'source', 'to-source': 'destination' } as const
    const exchanged = !world.brokenSource && !world.brokenDestination
    const undone = exchanged && (token === 'to-destination' || token === 'to-source')
    add('redialled', {
      ...copy(world, { toSource, toDestination, linked: true, sourceKnowsCut: false, destinationKnowsCut: false }),
      ...(undone ? { token: home[token], confirmed: true } : {}),
    })
  }

  function addOperator(world: SoftWorld, add: Add): void {
    for (const side of ['source', 'destination'] as const) {
      const state = world[side]
      const other = otherSide(side)
      if (state === 'dead') continue
      const { verdict, next } = ask(world, other)
      const peerIsDead = world[other] === 'dead'
      for (const what of ['take', 'take-stale', 'abandon'] as const) {
        const may = (answer: Verdict | 'unreachable'): boolean =>
          mayResolve(side, state, what, answer, peerIsDead, false, true) === null
        if (!may(verdict) && (world.linked || !may('unreachable'))) continue
        // R29: none of them has all of it. The model ends here, so that it shows.
        if (what !== 'abandon') {
          add(`operator: ${what} at the ${side}`, { ...next, [side]: side === 'source' ? 'reclaimed' : 'owner' })
          continue
        }
        if (world.decisions >= variant.decisions) continue
        const closed = { linked: false, decisions: world.decisions + 1 }
        const decided = side === 'source' ? source(next, 'abandon') : destination(next, 'abandon')
        add(`operator: abandon at the ${side}`, { ...decided, ...closed })
      }
    }
  }

  return {
    initial: INITIAL,
    successors: (world) => {
      const steps: Step<SoftWorld>[] = []
      const add: Add = (label, state) => void steps.push({ label, state })
      for (const part of [addSource, addDestination, addToken, addFaults, addRecovery, addOperator]) part(world, add)
      return steps
    },
    violation: (world) => {
      const { source: s, destination: d, token } = world
      if (runsAtSource(world) && runsAtDestination(world)) return 'the guest runs on two hosts'
      if (runsAtSource(world) && token !== 'source') return 'the source runs as if whole'
      if (runsAtDestination(world) && token !== 'destination') return 'the destination runs as if whole'
      if (world.lostWhole) return 'lost with everything'
      if (s === 'retired' && (token === 'source' || token.startsWith('to-'))) return 'retired with the token'
      if (s === 'done' && token !== 'destination' && world.destination !== 'dead')
        return 'done before it was whole there'
      if ((s === 'lost' || d === 'lost') && !world.crashed && world.decisions === 0) return 'lost without a cause'
      return null
    },
    mayEnd: (world) => {
      const { source: s, destination: d } = world
      if (!world.crashed && world.decisions === 0)
        return (s === 'done' && d === 'settled') || (s === 'aborted' && d === 'dropped')
      const undecided = (side: Side): boolean =>
        ['running', 'offered', 'shared', 'retired', 'receiving', 'incoming'].includes(world[side])
      if (undecided('source') && s !== 'running') return world.hostGone === 'destination'
      return !undecided('destination') || world.hostGone === 'source'
    },
  }
}
