// Every interleaving of pulling two pages for two vCPUs, and of two hosts that give two pages to and fro, with one cut
// anywhere. A read never sees other bytes than the last write's, a page has one owner, and nobody waits for ever.

import { describe, expect, test } from 'vitest'
import {
  isMissing,
  mayGive,
  nextOwnership,
  nextPresence,
  type Ownership,
  type OwnershipMessage,
  onAccess,
  ownedHere,
  ownedThere,
  PRESENCE,
  type Presence,
  type PresenceEvent,
} from '../../src/guest/presence.ts'
import { explore, type Model, type Step } from './explorer.ts'

const TIMEOUT_MS = 120_000
const PAGES = [0, 1]

interface Puller {
  at: 'choose' | 'look' | 'access' | 'parked'
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

interface PullVariant {
  /** False: bytes are read into guest memory without a claim, which R9 forbids. */
  readonly claimFirst?: boolean
  /** False: a page is installed whatever its hash says, which R10 forbids. */
  readonly checkHash?: boolean
  /** Pages that arrive with other bytes than the source sent. */
  readonly spoils?: number
}

function pullModel({ claimFirst = true, checkHash = true, spoils = 0 }: PullVariant): Model<PullState> {
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
            step('claims the page and writes it all', (next, one) => {
              exchange(next, one.page, 'write')
              Object.assign(next, {
                bytes: next.bytes.with(one.page, 'newer'),
                expected: next.expected.with(one.page, 'newer'),
              })
              one.at = 'choose'
            })
          } else {
            step('asks and parks', (next, one) => {
              if (exchange(next, one.page, 'request') && !next.down) next.toSend[one.page] = true
              one.at = 'parked'
            })
          }
          break
        }
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

interface Side {
  pages: Ownership[]
  /** How many increments the bytes here have seen. */
  values: number[]
  wants: number | null
  left: number
  /** Pages whose generation the other side has told since the cut; all before one. */
  agreed: boolean[]
}
type OnWire = { page: number; message: OwnershipMessage; value: number }
interface SoftState {
  sides: Side[]
  /** Messages to side 0 and to side 1. */
  wires: OnWire[][]
  done: number[]
  cuts: number
}

/** `destroyOld` false: what was under way at the cut may still arrive, which R23 forbids. */
function softModel(destroyOld: boolean): Model<SoftState> {
  const initial: SoftState = {
    sides: [
      { pages: [ownedHere, ownedHere], values: [0, 0], wants: null, left: 3, agreed: [true, true] },
      { pages: [ownedThere, ownedThere], values: [0, 0], wants: null, left: 3, agreed: [true, true] },
    ],
    wires: [[], []],
    done: [0, 0],
    cuts: 1,
  }
  function successors(state: SoftState): Step<SoftState>[] {
    const steps: Step<SoftState>[] = []
    const take = (label: string, change: (next: SoftState) => void): void => {
      const copySide = (side: Side): Side => ({
        ...side,
        pages: [...side.pages],
        values: [...side.values],
        agreed: [...side.agreed],
      })
      const next: SoftState = {
        ...state,
        sides: state.sides.map(copySide),
        wires: state.wires.map((wire) => [...wire]),
        done: [...state.done],
      }
      change(next)
      steps.push({ label, state: next })
    }
    const step = (next: SoftState, side: number, page: number, event: Parameters<typeof nextOwnership>[1]): void => {
      const here = next.sides[side] as Side
      const { state: after, send } = nextOwnership(here.pages[page] as Ownership, event)
      here.pages[page] = after
      const value = here.values[page] as number
      if (send !== null) (next.wires[1 - side] as OnWire[]).push({ page, message: send, value })
    }
    state.sides.forEach((here, side) => {
      if (here.wants === null && here.left > 0) {
        for (const page of PAGES) {
          take(`vCPU ${side} wants page ${page}`, (next) =>
            Object.assign(next.sides[side] as Side, { wants: page, left: here.left - 1 }),
          )
        }
      }
      const wanted = here.wants
      if (wanted !== null) {
        const page = here.pages[wanted] as Ownership
        if (page.holder === 'mine') {
          take(`vCPU ${side} increments page ${wanted}`, (next) => {
            const one = next.sides[side] as Side
            one.values[wanted] = (one.values[wanted] as number) + 1
            next.done[wanted] = (next.done[wanted] as number) + 1
            one.wants = null
            step(next, side, wanted, { type: 'accessed' })
          })
        } else if (page.holder === 'theirs' && !page.asked && here.agreed[wanted]) {
          take(`vCPU ${side} asks for page ${wanted}`, (next) => step(next, side, wanted, { type: 'want' }))
        }
      }
      for (const page of PAGES) {
        if (mayGive(here.pages[page] as Ownership) && here.agreed[page]) {
          take(`side ${side} gives page ${page}`, (next) => step(next, side, page, { type: 'give' }))
        }
      }
      const [arriving] = state.wires[side] as OnWire[]
      if (arriving !== undefined) {
        take(`side ${side} receives ${arriving.message.type} of page ${arriving.page}`, (next) => {
          const one = next.sides[side] as Side
          ;(next.wires[side] as OnWire[]).shift()
          const before = one.pages[arriving.page] as Ownership
          step(next, side, arriving.page, { type: 'message', message: arriving.message })
          if (arriving.message.type === 'have') one.agreed[arriving.page] = true
          const gained = before.holder !== 'mine' && one.pages[arriving.page]?.holder === 'mine'
          if (gained && arriving.message.type === 'give') one.values[arriving.page] = arriving.value
        })
      }
    })
    if (state.cuts > 0) {
      take('the link is cut and back', (next) => {
        next.cuts = 0
        const old = next.wires
        next.wires = [[], []]
        for (const side of [0, 1]) {
          for (const page of PAGES) {
            step(next, side, page, { type: 'cut' })
            const { generation } = (next.sides[side] as Side).pages[page] as Ownership
            ;(next.wires[1 - side] as OnWire[]).push({ page, message: { type: 'have', generation }, value: 0 })
          }
          Object.assign(next.sides[side] as Side, { agreed: [false, false] })
        }
        if (!destroyOld) next.wires = next.wires.map((wire, side) => [...wire, ...(old[side] as OnWire[])])
      })
    }
    return steps
  }
  return {
    initial,
    successors,
    violation: ({ sides, done }) => {
      for (const page of PAGES) {
        const owners = sides.filter((side) => side.pages[page]?.holder === 'mine')
        if (owners.length > 1) return 'two owners'
        if (owners.length === 1 && owners[0]?.values[page] !== done[page]) return 'a write was lost'
      }
      return null
    },
    mayEnd: ({ sides, wires }) =>
      sides.every(({ left, wants }) => left === 0 && wants === null) && wires.every((wire) => wire.length === 0),
    key: ({ sides, wires, done, cuts }) => {
      const side = ({ pages, values, wants, left, agreed }: Side): string =>
        `${pages.map((page) => Object.values(page))};${values};${wants};${left};${agreed}`
      const wire = wires.map((one) => one.map(({ page, message, value }) => `${page}${Object.values(message)}${value}`))
      return `${sides.map(side).join('|')}|${wire.join('/')}|${done}|${cuts}`
    },
  }
}

describe('pulling', { timeout: TIMEOUT_MS }, () => {
  test('two vCPUs, two pages, one cut', () => {
    const result = explore(pullModel({}))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(10_000)
  })

  test('R10: a page that arrives spoilt is asked again, a cut before or after it', () => {
    const result = explore(pullModel({ spoils: 1 }))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(20_000)
  })

  test('R10: a page that is installed whatever its hash says', () => {
    expect(explore(pullModel({ spoils: 1, checkHash: false })).violation?.rule).toMatch(/wrong bytes/)
  })

  test('R9: bytes read into guest memory without a claim overwrite a write', () => {
    expect(explore(pullModel({ claimFirst: false })).violation).not.toBeNull()
  })
})

describe('giving to and fro', { timeout: TIMEOUT_MS }, () => {
  test('two sides, two pages, one cut', () => {
    const result = explore(softModel(true))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(10_000)
  })

  test('R23: what was under way before the cut must not arrive after it', () => {
    expect(explore(softModel(false)).violation?.rule).toBe('two owners')
  })
})

test('every state accepts the events of R8, R9 and R23 and no other', () => {
  const allowed = (event: PresenceEvent): string[] =>
    Object.entries(PRESENCE).flatMap(([name, state]) => (nextPresence(state, event) === null ? [] : [name]))
  expect(allowed('request')).toEqual(['absent'])
  expect(allowed('claim')).toEqual(['absent', 'requested'])
  expect(allowed('placed')).toEqual(['installing'])
  expect(allowed('write')).toEqual(['absent'])
  expect(allowed('publish')).toEqual(['installed', 'local'])
  expect(allowed('spoilt')).toEqual(['installing'])
  expect(allowed('cut')).toEqual(['requested', 'installing'])
  expect(allowed('revoke')).toEqual(['installed', 'local', 'present'])
})
