// The exchange of soft as a model for the explorer: two sides, two pages, one or two vCPUs that write, a wire each way, one
// cut anywhere, crossings there and back. Out of the core that the exchange threads run, and of presence.ts. Variants break one
// rule each. Explored by exchange.test.ts.
//
// A write adds 1 to a page; the page must hold what all writes before it made of it, on whichever side. What vCPUs, wires
// and handshakes do are steps; what the exchange thread does with an event is one step.

import { PRESENCE } from '../../src/guest/presence.ts'
import { isOurs } from '../../src/guest/sharing.ts'
import type { ExchangeCore } from '../../src/migration/exchange/core.ts'
import { freshCore, PLACE } from '../../src/migration/exchange/core-state.ts'
import {
  copySide,
  copyTable,
  coreOf,
  type ExchangeState,
  type ExchangeVariant,
  exchange,
  MOST_MOVES,
  PAGES,
  pagesOf,
  SIDES,
  type SideState,
  sideKey,
  type Vcpu,
  value,
  written,
} from './exchange-sides.ts'
import type { Model, Step } from './explorer.ts'

export function exchangeModel(variant: ExchangeVariant): Model<ExchangeState> {
  const { vcpus = 1, writes = 2, crossings = [0, 0], cuts = 1, push = false } = variant
  const key = ({ sides, wires, truth, ...rest }: ExchangeState): string =>
    `${sideKey(sides[0])}~${sideKey(sides[1])}~${wires.map((wire) => wire.map(written).join(',')).join('~')}~${truth}~${Object.values(rest).join(';')}`

  const sideOf = (first: boolean): SideState => {
    const side = {
      presence: PAGES.map(() => (first ? PRESENCE.present : PRESENCE.absent)),
      // The first page was written since its copy was made.
      values: [first ? 1 : 0, 0],
      stale: [first, false],
      homes: PAGES.map(() => 0),
      generations: PAGES.map(() => (first ? 1 : 0)),
      asked: PAGES.map(() => false),
      handshake: false,
      // One more vCPU, the last, has crossed already: both sides use the pages.
      vcpus: Array.from({ length: vcpus }, (_, vcpu) => ({
        runs: first === (vcpu === 0),
        at: 'choose' as const,
        page: 0,
        left: writes,
        waitsFor: 0,
        owesAck: false,
      })),
      link: 1,
      empty: false,
      rested: !(first && variant.lately),
    }
    const core = freshCore(pagesOf(side as unknown as SideState, variant), first)
    for (let vcpu = 1; vcpu < vcpus; vcpu++) {
      core.places[vcpu] = first ? PLACE.there : PLACE.here
      core.vcpuGenerations[vcpu] = 2
    }
    core.linked = true
    return { ...side, core }
  }

  const initial: ExchangeState = {
    sides: [sideOf(true), sideOf(false)],
    wires: [[], []],
    truth: [1, 0],
    cuts,
    links: 1,
    crossings: Array.from({ length: vcpus }, (_, vcpu) => crossings[vcpu] ?? 0),
    pushed: false,
    home: [false, false],
    broken: null,
  }

  function successors(state: ExchangeState): Step<ExchangeState>[] {
    if (state.broken !== null) return []
    const steps: Step<ExchangeState>[] = []
    const take = (label: string, change: (next: ExchangeState) => void): void => {
      const next: ExchangeState = {
        ...state,
        sides: [copySide(state.sides[0]), copySide(state.sides[1])],
        wires: [[...state.wires[0]], [...state.wires[1]]],
        truth: [...state.truth],
        crossings: [...state.crossings],
        home: [...state.home],
      }
      change(next)
      steps.push({ label, state: next })
    }
    /** The exchange thread of a side handles an event, and goes on as exchange-thread.ts does. */
    const thread = (label: string, index: 0 | 1, event: (core: ExchangeCore, next: ExchangeState) => void): void => {
      take(`side ${index}: ${label}`, (next) => {
        const core = coreOf(next, index, variant)
        try {
          event(core, next)
          core.acknowledge()
          core.ask()
          core.pump()
        } catch (thrown) {
          next.broken = `${(thrown as { code?: string }).code}: ${(thrown as Error).message}`
        }
      })
    }
    for (const index of SIDES) {
      const side = state.sides[index]
      side.vcpus.forEach((me, vcpu) => {
        if (!me.runs) return
        const step = (label: string, change: (one: Vcpu, here: SideState, next: ExchangeState) => void): void =>
          take(`side ${index}, vCPU ${vcpu}: ${label}`, (next) => {
            const here = next.sides[index]
            change(here.vcpus[vcpu] as Vcpu, here, next)
          })
        const mine = isOurs(side.presence[me.page] as number)
        switch (me.at) {
          case 'choose':
            for (const page of me.left > 0 ? PAGES : []) {
              step(`wants page ${page}`, (one) => Object.assign(one, { at: 'look', page, left: one.left - 1 }))
            }
            if (
              (state.crossings[vcpu] as number) > 0 &&
              (index === 0) === ((state.crossings[vcpu] as number) === crossings[vcpu])
            ) {
              thread(`vCPU ${vcpu} is held and crosses`, index, (core, next) => {
                const one = next.sides[index].vcpus[vcpu] as Vcpu
                one.runs = false
                core.cross(vcpu, { steps: one.left, registers: new Uint8Array(0) })
              })
            }
            break
          case 'look':
            if (mine) step('may go on', (one) => Object.assign(one, { at: 'access' }))
            else step('says what it waits for', (one) => Object.assign(one, { at: 'slow', waitsFor: one.page + 1 }))
            break
          case 'slow':
            if (mine) step('need not wait', (one) => Object.assign(one, { at: 'access', waitsFor: 0 }))
            else {
              step('asks and parks', (one, here) => {
                if (exchange(here, one.page, 'request')) here.asked[one.page] = true
                one.at = 'parked'
              })
            }
            break
          case 'parked':
            // Woken when the page comes, and after a cut, to ask again.
            if (mine || side.presence[me.page] === PRESENCE.absent)
              step('wakes', (one) => Object.assign(one, { at: 'slow' }))
            break
          case 'access':
            step(`writes page ${me.page}`, (one, here, next) => {
              const { page } = one
              if (here.values[page] !== next.truth[page]) next.broken = `a write to page ${page} was lost`
              here.values[page] = value(here, page) + 1
              next.truth[page] = (next.truth[page] as number) + 1
              here.stale[page] = true
              here.homes[page] = vcpu + 1
              Object.assign(one, { at: 'choose', owesAck: false })
            })
        }
      })
      if (side.handshake && side.vcpus.every(({ owesAck }) => !owesAck)) {
        thread('the handshake ends', index, (core, next) => {
          next.sides[index].handshake = false
          core.quiet()
        })
      }
      if (side.asked.some(Boolean) || side.core.owed.length > 0 || side.core.push.what !== null) {
        thread('looks again', index, () => {})
        // Where nothing comes of it, it is no step: a deadlock must show.
        if (key((steps.at(-1) as Step<ExchangeState>).state) === key(state)) steps.pop()
      }
      const [message] = state.wires[index]
      if (message !== undefined && side.link === state.links) {
        thread(`receives ${written(message)}`, index, (core, next) => {
          next.wires[index].shift()
          if (message.type === 'give') core.onGive(copyTable(message.table), Uint8Array.from(message.values))
          else if (message.type === 'runs') core.onRuns(message.table)
          else if (message.type === 'cross') core.onCross(message.crossing)
          else if (message.type === 'ask') core.onAsk(Uint32Array.from(message.pages))
          else core.onApplied(message.count)
        })
      }
      if (side.link < state.links) {
        thread('begins the next link', index, (core, next) => {
          next.sides[index].link = next.links
          const count = core.begin()
          next.wires[1 - index]?.push({ type: 'applied', count: variant.wrongCount ? 0 : count })
        })
      }
    }
    if (state.cuts > 0) {
      take('the link is cut', (next) => {
        next.cuts--
        next.links++
        next.wires = [[], []]
      })
    }
    if (push && !state.pushed && state.crossings.every((left) => left === 0)) {
      thread('pushes everything', 0, (core, next) => {
        next.pushed = true
        core.push('everything')
      })
    }
    if (!state.sides[0].rested) {
      thread('has rested', 0, (_, next) => {
        next.sides[0].rested = true
      })
    }
    for (const index of variant.home && state.pushed ? SIDES : []) {
      // The source stops before it says so.
      if (state.home[index] || (index === 1 && !state.home[0])) continue
      thread(index === 0 ? 'pushes no more' : 'gives everything back', index, (core, next) => {
        next.home[index] = true
        core.push(index === 0 ? null : 'everything')
      })
    }
    return steps
  }

  return {
    initial,
    successors,
    key,
    violation: ({ sides, broken }) => {
      if (broken !== null) return broken
      for (const page of PAGES) {
        if (SIDES.every((index) => isOurs(sides[index].presence[page] as number))) return 'two owners'
        if (sides.some(({ generations }) => (generations[page] as number) > MOST_MOVES)) return 'livelock'
      }
      for (let vcpu = 0; vcpu < vcpus; vcpu++) {
        if (sides.every((side) => side.vcpus[vcpu]?.runs)) return 'a vCPU runs on two hosts'
      }
      const { empty, presence, core } = sides[0]
      const gone = !presence.some(isOurs) && core.ledger.frames.length === 0 && core.revoking === null
      if (empty && !variant.home && !gone) return 'not empty'
      return null
    },
    mayEnd: ({ sides, wires, crossings: left, pushed }) =>
      sides.every((side) => side.vcpus.every(({ runs, at, left }) => !runs || (at === 'choose' && left === 0))) &&
      SIDES.every((index) => wires[index].length === 0 && sides[index].core.revoking === null) &&
      PAGES.every((page) => sides.some((side) => isOurs(side.presence[page] as number))) &&
      left.every((count) => count === 0) &&
      (!push || variant.home || (pushed && sides[0].empty)) &&
      (!variant.home || (pushed && sides[1].empty && sides[0].presence.every(isOurs))),
  }
}
