// The two sides of the exchange model: their pages, vCPUs and wires as plain data, and the core that the exchange threads run over
// them. Out of presence.ts and src/migration/exchange; exchange-model.ts makes the steps.

import { nextPresence, PRESENCE, type Presence, type PresenceEvent } from '../../src/guest/presence.ts'
import { isOurs } from '../../src/guest/sharing.ts'
import { MAX_GENERATIONS_AHEAD } from '../../src/limits.ts'
import { ExchangeCore } from '../../src/migration/exchange/core.ts'
import type { CoreState } from '../../src/migration/exchange/core-state.ts'
import { eachRun } from '../../src/migration/exchange/ledger.ts'
import { raise } from '../../src/migration/exchange/page-runs.ts'
import type { ExchangeHost, ExchangeLink, ExchangePages } from '../../src/migration/exchange/sides.ts'
import { type Crossing, type GiveTable, HOW, type RunsTable } from '../../src/wire/exchange-frames.ts'

export const PAGES = [0, 1]
export const SIDES = [0, 1] as const
/** Each access moves a page once at most, a crossing, a push and a cut a few times more: beyond this nobody gets on. */
export const MOST_MOVES = 12

export type Message =
  | { type: 'give'; table: GiveTable; values: number[] }
  | { type: 'runs'; table: RunsTable }
  | { type: 'cross'; crossing: Crossing }
  | { type: 'ask'; pages: number[] }
  | { type: 'applied'; count: number }

export interface Vcpu {
  runs: boolean
  at: 'choose' | 'look' | 'slow' | 'parked' | 'access'
  page: number
  left: number
  /** As in its block: the page it waits for, plus 1. */
  waitsFor: number
  /** It was in an access when the handshake under way began. */
  owesAck: boolean
}

export interface SideState {
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
  /** Its pages may be pushed: none came a moment ago. */
  rested: boolean
}

export interface ExchangeState {
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
  /** And has to wait with that for a while, for its pages came a moment ago. */
  readonly lately?: boolean
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

export const copySide = (side: SideState): SideState => ({
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

export const copyTable = (table: GiveTable): GiveTable => ({
  ...table,
  pages: table.pages.slice(0, table.count),
  how: table.how.slice(0, table.count),
  free: table.free.slice(0, table.count),
  homes: table.homes.slice(0, table.count),
  generations: table.generations.slice(0, table.count),
  seals: table.seals.slice(0, table.count),
})

/** A compare-exchange by the rules of presence.ts: true when it took place. */
export function exchange(side: SideState, page: number, event: PresenceEvent): boolean {
  const after = nextPresence(side.presence[page] as Presence, event)
  if (after !== null) side.presence[page] = after
  return after !== null
}

/** From not ours to ours, in one step of the exchange thread. */
export function install(side: SideState, page: number): void {
  if (exchange(side, page, 'claim')) exchange(side, page, 'placed')
}

export const value = (side: SideState, page: number): number => side.values[page] as number

export function pagesOf(side: SideState, variant: ExchangeVariant): ExchangePages {
  return {
    pageCount: PAGES.length,
    vcpus: side.vcpus.length,
    lookAtWaiters: () => {},
    isMine: (page) => isOurs(side.presence[page] as number),
    isAwaited: (page) => !variant.takeFromWaiters && side.vcpus.some(({ waitsFor }) => waitsFor === page + 1),
    isStale: (page) => side.stale[page] as boolean,
    homeOf: (page) => side.homes[page] as number,
    heatOf: () => 0,
    cameLately: () => !side.rested,
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
    takeHome: (home) => {
      const pages = pagesOf(side, variant)
      const taken = PAGES.filter((page) => {
        const crosses = side.homes[page] === home && !pages.isStale(page) && !pages.isAwaited(page)
        return crosses && pages.takeAway(page)
      })
      return Uint32Array.from(taken.flatMap((page) => [page, 1]))
    },
    splitStale: (runs) => {
      const [inside, outside]: [number[], number[]] = [[], []]
      for (const page of runs.filter((_, at) => at % 2 === 0)) {
        if (side.stale[page]) outside.push(page)
        else inside.push(page, 1)
      }
      return { inside: Uint32Array.from(inside), outside }
    },
    takeOfSwitch: () => true,
    raise: (spans, home) => raise(side.generations, spans, home),
    firstRefused: (runs, leaving) => {
      let found = -1
      eachRun(runs, (first, count, generation) => {
        for (let page = first + count - 1; page >= first; page--) {
          const refused = isOurs(side.presence[page] as number) || (leaving !== null && leaving[page] !== 0)
          const ahead = generation - (side.generations[page] as number)
          if (refused || ahead < 1 || ahead > MAX_GENERATIONS_AHEAD) found = page
        }
      })
      return found
    },
    arriveRuns: (runs) => {
      eachRun(runs, (first, count, generation, home) => {
        for (let page = first; page < first + count; page++) pagesOf(side, variant).arrive(page, generation, home)
      })
    },
    nextMine: (page) => {
      while (page < PAGES.length && !isOurs(side.presence[page] as number)) page++
      return page
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
    sumOf: (runs) => {
      let sum = 0n
      eachRun(runs, (first, count) => {
        for (let page = first; page < first + count; page++) sum += BigInt((value(side, page) + 1) * 1000 ** page)
      })
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
export function coreOf(next: ExchangeState, index: 0 | 1, variant: ExchangeVariant): ExchangeCore {
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
export function written(message: Message): string {
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

export function sideKey({ core, vcpus, ...rest }: SideState): string {
  const { ledger, push } = core
  const frames = ledger.frames.map((frame) =>
    frame.kind === 'vcpu'
      ? `v${frame.vcpu}`
      : frame.kind === 'runs'
        ? `r${frame.runs}`
        : `p${frame.pages}:${frame.withData}`,
  )
  const batch =
    core.revoking &&
    `${core.revoking.asked}/${core.revoking.pushed}/${core.revoking.home}/${core.revoking.departure?.vcpu}`
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
