// The exchange of soft as a model for the explorer: two sides, two pages, one or two vCPUs that write, a wire each way, one
// cut anywhere, crossings there and back. Out of the core that the exchange threads run, and of presence.ts. Variants break one
// rule each. Explored by exchange.test.ts.
//
// A write adds 1 to a page; the page must hold what all writes before it made of it, on whichever side. What vCPUs, wires
// and handshakes do are steps; what the exchange thread does with an event is one step.

import { nextPresence, PRESENCE, type Presence, type PresenceEvent } from '../../src/guest/presence.ts'
import { isOurs } from '../../src/guest/sharing.ts'
import { ExchangeCore } from '../../src/migration/exchange/core.ts'
import { type CoreState, freshCore, PLACE } from '../../src/migration/exchange/core-state.ts'
import type { ExchangeHost, ExchangeLink, ExchangePages } from '../../src/migration/exchange/sides.ts'
import { type Crossing, type GiveTable, HOW, type RunsTable } from '../../src/wire/exchange-frames.ts'
import type { Model, Step } from './explorer.ts'

const PAGES = [0, 1]
const SIDES = [0, 1] as const
/** Each access moves a page once at most, a crossing, a push and a cut a few times more: beyond this nobody gets on. */
const MOST_MOVES = 12

type Message =
  | { type: 'give'; table: GiveTable; values: number[] }
  | { type: 'runs'; table: RunsTable }
  | { type: 'cross'; crossing: Crossing }
  | { type: 'ask'; pages: number[] }
  | { type: 'applied'; count: number }

interface Vcpu {
  runs: boolean
  at: 'choose' | 'look' | 'slow' | 'parked' | 'access'
  page: number
  left: number
  /** As in its block: the page it waits for, plus 1. */
  waitsFor: number
  /** It was in an access when the handshake under way began. */
  owesAck: boolean
}

interface SideState {
  presence: Presence[]
  values: number[]
  stale: boolean[]
  homes: number[]
  generations: number[]
  asked: boolean[]
  core: CoreState
  handshake: boolean
  vcpus: Vcpu[]
  /** The link that this side knows of. */
  link: number
  empty: boolean
}

interface ExchangeState {
  sides: [SideState, SideState]
  /** To side 0 and to side 1. */
  wires: [Message[], Message[]]
  truth: number[]
  cuts: number
  /** Links so far; one that a side does not know of yet means that the older is cut. */
  links: number
  /** Crossings that each vCPU has still to make. */
  crossings: number[]
  pushed: boolean
  /** Sides that were told that all goes home. */
  home: [boolean, boolean]
  broken: string | null
}

export interface ExchangeVariant {
  readonly vcpus?: number
  /** Writes of each vCPU. */
  readonly writes?: number
  /** Crossings of each vCPU, to and fro. */
  readonly crossings?: readonly number[]
  readonly cuts?: number
  /** The source pushes everything in the end. */
  readonly push?: boolean
  /** Then, at any time, it stops, and the destination pushes everything: all must be at the source again. */
  readonly home?: boolean
  /** R11 broken: a page is given before the handshake has ended. */
  readonly giveEarly?: boolean
  /** R25 broken: what was in flight at a cut is not taken back. */
  readonly noRollback?: boolean
  /** What was given with data and never arrived is taken for what the other side has. */
  readonly forgetStale?: boolean
  /** R6 broken: pages are taken from vCPUs that wait for them. */
  readonly takeFromWaiters?: boolean
  /** A link begins with a wrong count: everything in flight is taken back, whether it arrived or not. */
  readonly wrongCount?: boolean
  /** Asks overtake gives. */
  readonly asksOvertake?: boolean
}

const copyFrame = (state: CoreState): CoreState => ({
  ...state,
  ledger: { ...state.ledger, frames: [...state.ledger.frames] },
  leaving: state.leaving.slice(),
  owed: [...state.owed],
  owedMarks: state.owedMarks.slice(),
  early: [...state.early],
  departures: [...state.departures],
  places: state.places.slice(),
  vcpuGenerations: state.vcpuGenerations.slice(),
  push: { ...state.push },
})

const copySide = (side: SideState): SideState => ({
  ...side,
  presence: [...side.presence],
  values: [...side.values],
  stale: [...side.stale],
  homes: [...side.homes],
  generations: [...side.generations],
  asked: [...side.asked],
  core: copyFrame(side.core),
  vcpus: side.vcpus.map((vcpu) => ({ ...vcpu })),
})

const copyTable = (table: GiveTable): GiveTable => ({
  ...table,
  pages: table.pages.slice(0, table.count),
  how: table.how.slice(0, table.count),
  free: table.free.slice(0, table.count),
  homes: table.homes.slice(0, table.count),
  generations: table.generations.slice(0, table.count),
  seals: table.seals.slice(0, table.count),
})

/** A compare-exchange by the rules of presence.ts: true when it took place. */
function exchange(side: SideState, page: number, event: PresenceEvent): boolean {
  const after = nextPresence(side.presence[page] as Presence, event)
  if (after !== null) side.presence[page] = after
  return after !== null
}

/** From not ours to ours, in one step of the exchange thread. */
function install(side: SideState, page: number): void {
  if (exchange(side, page, 'claim')) exchange(side, page, 'placed')
}

const value = (side: SideState, page: number): number => side.values[page] as number

function pagesOf(side: SideState, variant: ExchangeVariant): ExchangePages {
  return {
    pageCount: PAGES.length,
    vcpus: side.vcpus.length,
    lookAtWaiters: () => {},
    isMine: (page) => isOurs(side.presence[page] as number),
    isAwaited: (page) => !variant.takeFromWaiters && side.vcpus.some(({ waitsFor }) => waitsFor === page + 1),
    isStale: (page) => side.stale[page] as boolean,
    homeOf: (page) => side.homes[page] as number,
    heatOf: () => 0,
    cameLately: () => false,
    generationOf: (page) => side.generations[page] as number,
    setGeneration: (page, generation) => {
      side.generations[page] = generation
    },
    takeAway: (page) => exchange(side, page, 'revoke'),
    bringBack: (page, stale) => {
      if (variant.noRollback) return
      if (stale && !variant.forgetStale) side.stale[page] = true
      else if (stale) side.stale[page] = false
      install(side, page)
    },
    seal: (table) => {
      for (let index = 0; index < table.count; index++) {
        table.free[index] = 0
        table.seals[index] = BigInt(value(side, table.pages[index] as number))
      }
    },
    place: (table, contents) => {
      let raw = 0
      for (let index = 0; index < table.count; index++) {
        const page = table.pages[index] as number
        if (table.how[index] === HOW.raw) side.values[page] = contents[raw++] as number
        if (BigInt(value(side, page)) !== table.seals[index]) return page
      }
      return -1
    },
    arrive: (page, generation, home) => {
      side.stale[page] = false
      side.generations[page] = generation
      if (home !== 0) side.homes[page] = home
      install(side, page)
    },
    sumOf: (first, count) => {
      let sum = 0n
      for (let page = first; page < first + count; page++) sum += BigInt((value(side, page) + 1) * 1000 ** page)
      return sum
    },
    takeAsks: (into) => {
      let count = 0
      for (const page of PAGES) {
        if (!side.asked[page]) continue
        side.asked[page] = false
        if (side.presence[page] === PRESENCE.requested) into[count++] = page
      }
      return count
    },
    forgetAsks: () => {
      for (const page of PAGES) exchange(side, page, 'cut')
      side.asked.fill(false)
    },
    handshakeBegins: () => {},
    handshakeEnds: () => {
      for (const page of PAGES) exchange(side, page, 'publish')
    },
    unpublished: false,
  }
}

const WINDOW = { sent() {}, acked() {}, fault() {}, room: () => true, batchPages: () => PAGES.length }

/** The core of a side of `next`, which it changes. */
function coreOf(next: ExchangeState, index: 0 | 1, variant: ExchangeVariant): ExchangeCore {
  const side = next.sides[index]
  const say = (message: Message): void => {
    if (side.link !== next.links) return
    const wire = next.wires[1 - index] as Message[]
    if (message.type === 'ask' && variant.asksOvertake) wire.unshift(message)
    else wire.push(message)
  }
  const link: ExchangeLink = {
    open: true,
    give: (table) => {
      const listed = [...table.pages.slice(0, table.count)]
      const values = listed.filter((_, at) => table.how[at] === HOW.raw).map((page) => value(side, page))
      say({ type: 'give', table: copyTable(table), values })
      return 1
    },
    runs: (table) => {
      say({ type: 'runs', table })
      return 1
    },
    cross: (crossing) => say({ type: 'cross', crossing }),
    ask: (pages, count) => say({ type: 'ask', pages: [...pages.slice(0, count)] }),
    applied: (count) => say({ type: 'applied', count }),
  }
  const run = (vcpu: number, left: number | null): void => {
    const here = side.vcpus[vcpu] as Vcpu
    here.runs = true
    if (left !== null) here.left = left
  }
  const host: ExchangeHost = {
    now: () => Number.POSITIVE_INFINITY,
    revoke: () => {
      side.handshake = true
      for (const vcpu of side.vcpus) vcpu.owesAck = vcpu.runs && vcpu.at === 'access' && !variant.giveEarly
    },
    mayPush: () => true,
    window: () => WINDOW,
    crossed: (vcpu) => {
      next.crossings[vcpu] = (next.crossings[vcpu] as number) - 1
    },
    cancelled: (vcpu) => run(vcpu, null),
    arrived: (vcpu, { steps }) => run(vcpu, steps),
    drained: () => {
      side.empty = true
    },
    count: () => {},
  }
  return new ExchangeCore(side.core, pagesOf(side, variant), link, host)
}

/** What a message says, without what is the same in all. */
function written(message: Message): string {
  switch (message.type) {
    case 'give': {
      const { number, pages, how, generations, homes, seals } = message.table
      return `g${number}:${pages}:${how}:${generations}:${homes}:${seals}:${message.values}`
    }
    case 'runs':
      return `r${message.table.number}:${message.table.sum}:${message.table.runs}`
    case 'cross':
      return `c${message.crossing.number}:${message.crossing.vcpu}:${message.crossing.generation}:${message.crossing.state.steps}`
    case 'ask':
      return `a${message.pages}`
    case 'applied':
      return `t${message.count}`
  }
}

function sideKey({ core, vcpus, ...rest }: SideState): string {
  const { ledger, push } = core
  const frames = ledger.frames.map((frame) =>
    frame.kind === 'vcpu'
      ? `v${frame.vcpu}`
      : frame.kind === 'runs'
        ? `r${frame.runs}`
        : `p${frame.pages}:${frame.withData}`,
  )
  const batch = core.revoking && `${core.revoking.asked}/${core.revoking.rest}/${core.revoking.departure?.vcpu}`
  const known = [core.linked, core.leaving, core.owed, core.early, core.departures.map(({ vcpu }) => vcpu), core.places]
  const count = [ledger.sent, ledger.applied, ledger.told, frames, core.vcpuGenerations, core.yielded]
  const all = [
    ...Object.values(rest),
    ...known,
    ...count,
    batch,
    push.what,
    push.drained,
    push.heat,
    push.disturbed,
    push.chosen,
  ]
  return `${all.join(';')}#${vcpus.map((vcpu) => Object.values(vcpu)).join('|')}`
}

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
      if (empty && !variant.home && (presence.some(isOurs) || core.ledger.frames.length > 0)) return 'not empty'
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
