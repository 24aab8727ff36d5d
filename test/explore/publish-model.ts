// Placing, publishing and taking back pages under vCPUs whose plain loads are weak, as a model for the explorer: a plain
// load may return what was there when the vCPU last loaded something atomically, and a page's bytes are sure to be the
// new ones only behind such a load. Out of presence.ts and safepoint-machine.ts (R4–R6, R8, R11). Variants break one
// rule each. Explored by publish.test.ts.

import { nextPresence, onAccess, PRESENCE, type Presence, type PresenceEvent } from '../../src/guest/presence.ts'
import { acknowledged, type HandshakeKind, nextWord, obey, parkPhase, VCPU } from '../../src/guest/safepoint-machine.ts'
import type { Model, Step } from './explorer.ts'

const PAGES = [0, 1] as const

export interface Variant {
  readonly stepsPerVcpu: number
  /** Page 0 is taken away once, and comes back. */
  readonly revokes: boolean
  /** The guest is paused once, at any time. */
  readonly pauses: boolean
  /** A page is placed only when the one before it is published. */
  readonly oneBuffer: boolean
  /** What is broken; null: nothing. */
  readonly broken:
    | null
    | 'publish without a handshake'
    | 'publish what came during the handshake'
    | 'copy without a handshake'
    | 'leave a fault without the word'
    | 'a fault counts as paused'
    | 'a fault holds up every handshake'
}

interface VcpuModel {
  at: 'poll' | 'choose' | 'look' | 'look atomically' | 'access' | 'park inside' | 'parked inside' | 'obey' | 'parked'
  phase: number
  seen: number
  ack: number
  page: number
  left: number
  /** The oldest presence that a plain load may still return, and the newest bytes it is sure to see; one a page. */
  view: number[]
  sees: number[]
}

interface State {
  presence: number[]
  /** How often each page was placed; 0: never. */
  placed: number[]
  /** Copied and given away: nobody here may touch it. */
  given: boolean[]
  word: number
  /** What the coordinator knew when it published the word: whoever loads the word knows it, too. */
  known: { presence: number[]; placed: number[] }
  vcpus: VcpuModel[]
  job: 'idle' | 'publish' | 'revoke' | 'pause' | 'paused'
  /** 0: the word is still to be published; 1 and 2: vCPU 0 and 1 are awaited; 3: the rest. */
  item: number
  list: boolean[]
  revoked: boolean
}

export function publishModel(variant: Variant): Model<State> {
  const { broken } = variant
  const vcpu: VcpuModel = {
    at: 'poll',
    phase: VCPU.running,
    seen: 0,
    ack: 0,
    page: 0,
    left: variant.stepsPerVcpu,
    view: [PRESENCE.absent, PRESENCE.absent],
    sees: [0, 0],
  }
  const initial: State = {
    presence: [PRESENCE.absent, PRESENCE.absent],
    placed: [0, 0],
    given: [false, false],
    word: 0,
    known: { presence: [PRESENCE.absent, PRESENCE.absent], placed: [0, 0] },
    vcpus: [vcpu, structuredClone(vcpu)],
    job: 'idle',
    item: 0,
    list: [false, false],
    revoked: false,
  }

  const copy = (state: State): State => ({
    ...state,
    presence: [...state.presence],
    placed: [...state.placed],
    given: [...state.given],
    vcpus: state.vcpus.map((one) => ({ ...one, view: [...one.view], sees: [...one.sees] })),
  })

  /** A compare-exchange: true when it took place. */
  function exchange(next: State, page: number, event: PresenceEvent): boolean {
    const after = nextPresence(next.presence[page] as Presence, event)
    if (after !== null) next.presence[page] = after
    return after !== null
  }

  /** An atomic load of a page's presence: it is what it is, and the bytes behind it are visible. */
  function synchronize(next: State, one: VcpuModel, page: number): Presence {
    one.view[page] = next.presence[page] as number
    one.sees[page] = next.placed[page] as number
    return next.presence[page] as Presence
  }

  function loadWord(next: State, one: VcpuModel): void {
    for (const page of PAGES) {
      const placed = next.known.placed[page] as number
      if (placed < (one.sees[page] as number)) continue
      one.sees[page] = placed
      one.view[page] = next.known.presence[page] as number
    }
  }

  function vcpuSteps(state: State, index: number): Step<State>[] {
    const steps: Step<State>[] = []
    const take = (label: string, change: (next: State, one: VcpuModel) => void): void => {
      const next = copy(state)
      change(next, next.vcpus[index] as VcpuModel)
      steps.push({ label: `vCPU ${index}: ${label}`, state: next })
    }
    const me = state.vcpus[index] as VcpuModel
    const acknowledge = (next: State, one: VcpuModel, place: 'boundary' | 'inside'): number => {
      const order = obey(place, one.seen, next.word)
      loadWord(next, one)
      if (order.acknowledge) Object.assign(one, { seen: next.word, ack: next.word })
      return order.phase
    }
    switch (me.at) {
      case 'poll': {
        const order = obey('boundary', me.seen, state.word)
        if (!order.acknowledge && order.phase === VCPU.running) {
          if (me.left > 0) take('goes on', (_, one) => Object.assign(one, { at: 'choose', left: one.left - 1 }))
          break
        }
        take('obeys the word', (next, one) => {
          one.phase = acknowledge(next, one, 'boundary')
          if (one.phase !== VCPU.running) one.at = 'parked'
        })
        break
      }
      case 'choose':
        for (const page of PAGES) take(`wants page ${page}`, (_, one) => Object.assign(one, { at: 'look', page }))
        break
      case 'look':
        for (const value of new Set([me.view[me.page] as Presence, state.presence[me.page] as Presence])) {
          const go = onAccess(value) === 'go'
          take(`plain load: ${value}`, (_, one) => Object.assign(one, { at: go ? 'access' : 'look atomically' }))
        }
        break
      case 'look atomically':
        take('looks again, atomically', (next, one) => {
          exchange(next, one.page, 'request')
          const answer = onAccess(synchronize(next, one, one.page))
          one.at = answer === 'go' || answer === 'fence' ? 'access' : 'park inside'
        })
        break
      case 'park inside':
        take('parks inside', (_, one) => Object.assign(one, { at: 'parked inside', phase: parkPhase('inside') }))
        break
      case 'parked inside':
        if (onAccess(state.presence[me.page] as Presence) === 'wait') break
        take('leaves its fault', (_, one) => {
          const at = broken === 'leave a fault without the word' ? 'look' : 'obey'
          Object.assign(one, { at, phase: VCPU.running })
        })
        break
      case 'obey':
        take('loads the word', (next, one) => {
          acknowledge(next, one, 'inside')
          one.at = 'look'
        })
        break
      case 'access':
        take(`touches page ${me.page}`, (_, one) => Object.assign(one, { at: 'poll', page: 0 }))
    }
    return steps
  }

  function laneSteps(state: State): Step<State>[] {
    const steps: Step<State>[] = []
    const unpublished = state.presence.some((one) => one === PRESENCE.installed || one === PRESENCE.installing)
    for (const page of PAGES) {
      const next = copy(state)
      const away = state.revoked && page === 0 && state.placed[0] === 1 && !state.given[0]
      if (away || (variant.oneBuffer && unpublished && state.presence[page] !== PRESENCE.installing)) continue
      if (exchange(next, page, 'claim')) steps.push({ label: `page ${page} is claimed`, state: next })
      else if (exchange(next, page, 'placed')) {
        next.placed[page] = (next.placed[page] as number) + 1
        next.given[page] = false
        steps.push({ label: `page ${page} is placed`, state: next })
      }
    }
    return steps
  }

  function begin(state: State): Step<State>[] {
    const steps: Step<State>[] = []
    const start = (label: string, change: (next: State) => void): void => {
      const next = copy(state)
      change(next)
      Object.assign(next, { item: 0, known: { presence: [...next.presence], placed: [...next.placed] } })
      steps.push({ label: `coordinator: ${label}`, state: next })
    }
    const list = state.presence.map((one) => one === PRESENCE.installed)
    if (list.includes(true)) start('notes what is installed', (next) => Object.assign(next, { job: 'publish', list }))
    if (variant.revokes && !state.revoked && state.presence[0] === PRESENCE.present)
      start('takes page 0', (next) => {
        exchange(next, 0, 'revoke')
        Object.assign(next, { job: 'revoke', revoked: true })
      })
    if (variant.pauses) start('wants a pause', (next) => Object.assign(next, { job: 'pause' }))
    return steps
  }

  function coordinatorSteps(state: State): Step<State>[] {
    const { job, item } = state
    if (job === 'idle') return begin(state)
    if (job === 'paused') return []
    const next = copy(state)
    next.item++
    const step = (label: string): Step<State>[] => [{ label: `coordinator: ${label}`, state: next }]
    if (item === 0) {
      next.word = nextWord(next.word, { pause: job === 'pause' })
      const skips = broken === `${job === 'revoke' ? 'copy' : 'publish'} without a handshake` && job !== 'pause'
      if (skips) next.item = 3
      return step('publishes the word')
    }
    if (item < 3) {
      const { phase, ack } = state.vcpus[item - 1] as VcpuModel
      const kinds = { publish: 'round', revoke: 'revocation', pause: 'pause' } as const
      const kind: HandshakeKind = broken === 'a fault counts as paused' ? 'revocation' : kinds[job]
      if (broken === 'a fault holds up every handshake' && phase === VCPU.parkedInside) return []
      return acknowledged(phase, ack, state.word, kind) ? step(`has vCPU ${item - 1}`) : []
    }
    next.job = job === 'pause' ? 'paused' : 'idle'
    next.item = 0
    if (job === 'revoke') next.given[0] = true
    if (job === 'publish') {
      const late = broken === 'publish what came during the handshake'
      for (const page of PAGES) if (state.list[page] || late) exchange(next, page, 'publish')
      next.list = [false, false]
    }
    return step(job === 'revoke' ? 'copies page 0 and gives it' : `ends the ${job}`)
  }

  const idle = (one: VcpuModel): boolean => one.at === 'poll' && one.left === 0
  return {
    initial,
    successors: (state) => {
      // Which page a vCPU wants is its own affair: taking that step first leaves every outcome reachable.
      const undecided = state.vcpus.findIndex(({ at }) => at === 'choose')
      if (undecided !== -1) return vcpuSteps(state, undecided)
      return [...vcpuSteps(state, 0), ...vcpuSteps(state, 1), ...laneSteps(state), ...coordinatorSteps(state)]
    },
    violation: (state) => {
      for (const { at, page, sees } of state.vcpus) {
        if (at !== 'access') continue
        if (state.given[page]) return 'a vCPU touches a page that was given away'
        if ((sees[page] as number) < (state.placed[page] as number)) return 'a vCPU may see old bytes'
      }
      if (state.job === 'paused' && state.vcpus.some(({ at }) => at !== 'parked')) return 'paused inside a step'
      return null
    },
    mayEnd: (state) => (variant.pauses ? state.job === 'paused' : state.job === 'idle' && state.vcpus.every(idle)),
    key: ({ vcpus, known, ...rest }) =>
      `${vcpus.map((one) => Object.values(one).join())}|${known.presence}|${known.placed}|${Object.values(rest).join(';')}`,
  }
}
