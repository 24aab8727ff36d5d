// Pulling two pages for two vCPUs as a model for the explorer, with one cut and pages that arrive spoilt. Out of
// presence.ts (R8–R10, R23). Variants break one rule each. Explored by presence.test.ts.

import {
  isMissing,
  nextPresence,
  onAccess,
  PRESENCE,
  type Presence,
  type PresenceEvent,
} from '../../src/guest/presence.ts'
import type { Model, Step } from './explorer.ts'

const PAGES = [0, 1]

interface Puller {
  at: 'choose' | 'look' | 'access' | 'writing' | 'parked'
  page: number
  kind: 'read' | 'write' | 'write-all'
  left: number
}

interface PullState {
  presence: Presence[]
  /** What a page holds at the destination: nothing, the source's bytes, spoilt ones, or a newer write. */
  bytes: ('none' | 'source' | 'spoilt' | 'newer')[]
  /** What it must hold where it can be read. */
  expected: ('source' | 'newer')[]
  vcpus: Puller[]
  /** Pages on the way, and what the source has still to send. */
  wire: number[]
  toSend: boolean[]
  /** The page a transfer thread is reading into guest memory, and whether it is still current. */
  receiving: number | null
  claimed: boolean
  /** What is being read is not what the source sent. */
  spoilt: boolean
  spoils: number
  cuts: number
  down: boolean
  wrong: boolean
}

export interface PullVariant {
  /** False: bytes are read into guest memory without a claim, which R9 forbids. */
  readonly claimFirst?: boolean
  /** False: a page is installed whatever its hash says, which R10 forbids. */
  readonly checkHash?: boolean
  /** Pages that arrive with other bytes than the source sent. */
  readonly spoils?: number
}

export function pullModel({ claimFirst = true, checkHash = true, spoils = 0 }: PullVariant): Model<PullState> {
  const copy = (state: PullState): PullState => ({
    ...state,
    presence: [...state.presence],
    vcpus: state.vcpus.map((one) => ({ ...one })),
    wire: [...state.wire],
    toSend: [...state.toSend],
    bytes: [...state.bytes],
    expected: [...state.expected],
  })
  const vcpu: Puller = { at: 'choose', page: 0, kind: 'read', left: 1 }
  const initial: PullState = {
    presence: [PRESENCE.absent, PRESENCE.absent],
    bytes: ['none', 'none'],
    expected: ['source', 'source'],
    vcpus: [vcpu, { ...vcpu }],
    wire: [],
    toSend: [true, true],
    receiving: null,
    claimed: false,
    spoilt: false,
    spoils,
    cuts: 1,
    down: false,
    wrong: false,
  }
  function successors(state: PullState): Step<PullState>[] {
    const steps: Step<PullState>[] = []
    const take = (label: string, change: (next: PullState) => void): void => {
      const next = copy(state)
      change(next)
      steps.push({ label, state: next })
    }
    /** A compare-exchange: true when it took place. */
    const exchange = (next: PullState, page: number, event: PresenceEvent): boolean => {
      const after = nextPresence(next.presence[page] as Presence, event)
      if (after !== null) next.presence[page] = after
      return after !== null
    }
    const undecided = state.vcpus.findIndex(({ at, left }) => at === 'choose' && left > 0)
    state.vcpus.forEach((me, index) => {
      // What a vCPU wants next is its own affair: taking that step first leaves every outcome reachable.
      if (undecided !== -1 && undecided !== index) return
      const step = (label: string, change: (next: PullState, one: Puller) => void): void =>
        take(`vCPU ${index}: ${label}`, (next) => change(next, next.vcpus[index] as Puller))
      const presence = state.presence[me.page] as Presence
      switch (me.at) {
        case 'choose':
          for (const page of me.left > 0 ? PAGES : []) {
            for (const kind of ['read', 'write', 'write-all'] as const) {
              step(`wants to ${kind} page ${page}`, (_, one) =>
                Object.assign(one, { at: 'look', page, kind, left: one.left - 1 }),
              )
            }
          }
          break
        case 'look': {
          const answer = onAccess(presence)
          if (answer === 'go' || answer === 'fence') step('may go on', (_, one) => Object.assign(one, { at: 'access' }))
          else if (me.kind === 'write-all' && answer === 'ask') {
            step('claims the page to write it all', (next, one) => {
              exchange(next, one.page, 'write')
              // Half of it is new: whoever reads it now reads neither the old content nor the new one.
              next.bytes[one.page] = 'none'
              next.expected[one.page] = 'newer'
              one.at = 'writing'
            })
          } else {
            step('asks and parks', (next, one) => {
              if (exchange(next, one.page, 'request') && !next.down) next.toSend[one.page] = true
              one.at = 'parked'
            })
          }
          break
        }
        case 'writing':
          step('has written it all', (next, one) => {
            next.bytes[one.page] = 'newer'
            exchange(next, one.page, 'wrote')
            one.at = 'choose'
          })
          break
        case 'parked':
          // Woken when the page is installed, and by a cut, to ask again.
          if (onAccess(presence) === 'wait') break
          step('wakes', (_, one) => Object.assign(one, { at: 'look' }))
          break
        case 'access':
          step(`${me.kind}s page ${me.page}`, (next, one) => {
            if (one.kind === 'read') next.wrong ||= next.bytes[one.page] !== next.expected[one.page]
            else if (one.kind === 'write')
              next.wrong ||= next.bytes[one.page] === 'none' || next.bytes[one.page] === 'spoilt'
            if (one.kind !== 'read') {
              next.bytes[one.page] = 'newer'
              next.expected[one.page] = 'newer'
            }
            Object.assign(one, { at: 'choose' })
          })
      }
    })
    if (undecided !== -1) return steps
    for (const page of PAGES) {
      if (state.toSend[page] && !state.down && state.wire.length < 2) {
        take(`source sends page ${page}`, (next) => {
          next.toSend[page] = false
          next.wire.push(page)
        })
      }
      const published = nextPresence(state.presence[page] as Presence, 'publish')
      if (published !== null) take(`page ${page} is published`, (next) => exchange(next, page, 'publish'))
    }
    const [arriving] = state.wire
    if (state.receiving === null && arriving !== undefined) {
      for (const spoilt of state.spoils > 0 ? [false, true] : [false]) {
        take(`page ${arriving} arrives${spoilt ? ' spoilt' : ''}`, (next) => {
          next.receiving = arriving
          next.claimed = exchange(next, arriving, 'claim') || !claimFirst
          next.wire.shift()
          Object.assign(next, { spoilt, spoils: next.spoils - (spoilt ? 1 : 0) })
        })
      }
    }
    if (state.receiving !== null) {
      const page = state.receiving
      take(state.claimed ? `page ${page} is placed` : `page ${page} is dropped`, (next) => {
        const wrong = next.spoilt && checkHash
        if (next.claimed) next.bytes[page] = next.spoilt ? 'spoilt' : 'source'
        if (next.claimed) exchange(next, page, wrong ? 'spoilt' : 'placed')
        // R10: asked again.
        if (next.claimed && wrong) next.toSend[page] = true
        Object.assign(next, { receiving: null, claimed: false, spoilt: false })
      })
    }
    if (state.cuts > 0) {
      // The channels are destroyed and closed: nobody is reading any more (R23). Half a page may be in guest memory.
      take('the link is cut', (next) => {
        if (next.receiving !== null && next.claimed) next.bytes[next.receiving] = 'none'
        Object.assign(next, { cuts: 0, down: true, wire: [], receiving: null, claimed: false, spoilt: false })
        for (const each of PAGES) exchange(next, each, 'cut')
      })
    }
    if (state.down) {
      take('the link is back', (next) => {
        next.down = false
        next.toSend = next.presence.map(isMissing)
      })
    }
    return steps
  }
  const finished = (state: PullState): boolean =>
    state.vcpus.every(({ at, left }) => at === 'choose' && left === 0) && !state.presence.some(isMissing)
  return {
    initial,
    successors,
    violation: (state) => {
      if (state.wrong) return 'a vCPU met wrong bytes'
      const lost = PAGES.some((page) => {
        const settled = onAccess(state.presence[page] as Presence) === 'go' || state.presence[page] === PRESENCE.local
        return settled && state.bytes[page] !== state.expected[page]
      })
      return lost ? 'a page holds wrong bytes' : null
    },
    mayEnd: finished,
    key: ({ presence, bytes, expected, vcpus, ...rest }) =>
      `${presence}|${bytes}|${expected}|${vcpus.map((one) => Object.values(one))}|${Object.values(rest).join(';')}`,
  }
}
