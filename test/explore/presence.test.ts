// Every interleaving of pulling two pages for two vCPUs, and of two hosts that give two pages to and fro, with one cut
// anywhere. A read never sees other bytes than the last write's, a page has one owner, and nobody waits for ever.

import { describe, expect, test } from 'vitest'
import {
  mayGive,
  nextOwnership,
  nextPresence,
  type Ownership,
  type OwnershipMessage,
  ownedHere,
  ownedThere,
  PRESENCE,
  type PresenceEvent,
} from '../../src/guest/presence.ts'
import { explore, type Model, type Step } from './explorer.ts'
import { pullModel } from './pull-model.ts'

const TIMEOUT_MS = 120_000
const PAGES = [0, 1]

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
