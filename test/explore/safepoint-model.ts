// The safepoint as a model for the explorer: two vCPUs, two pages and a coordinator, with x86 store buffers, out of the
// same pure functions as the real threads use. Variants break one rule each. Explored by safepoint.test.ts.

import {
  acknowledged,
  nextWord,
  obey,
  parkPhase,
  type Table,
  tableOf,
  VCPU,
} from '../../src/guest/safepoint-machine.ts'
import type { Model, Step } from './explorer.ts'

const PAGES = [0, 1] as const

export interface Variant {
  /** Stores wait in a buffer before others see them (x86); else they are seen at once. */
  readonly storeBuffer: boolean
  /** Parks of its own that each vCPU may make: at a boundary with a timeout, inside a step. */
  readonly rests: readonly [number, number]
  readonly faults: readonly [number, number]
  /** Rounds before the pause. */
  readonly rounds: number
  readonly storesPerVcpu: number
  /** How a round gets at a table: R1, a swap that awaits nobody, or no swap at all ("test, then set" alone). */
  readonly collect: 'swap' | 'swap-without-handshake' | 'no-swap'
  /** R5 broken: a vCPU that leaves a park loads the word before it stores RUNNING. */
  readonly leaveBackwards: boolean
}

type At =
  | 'poll'
  | 'acknowledge'
  | 'choose'
  | 'store'
  | 'check'
  | 'load wake'
  | 'look again'
  | 'park'
  | 'parked'
  | 'park inside'
  | 'parked inside'
  | 'obey inside'
  | 'run late'

type Buffered = ['data', number] | ['mark', Table, number]

interface VcpuModel {
  at: At
  phase: number
  seen: number
  ack: number
  table: Table
  /** The word just loaded. */
  word: number
  page: number
  stores: number
  /** Parks of its own it may still make: at a boundary (with a timeout), inside a step. */
  rests: number
  faults: number
  wake: number
  wakeSeen: number
  timed: boolean
  inside: boolean
  buffer: Buffered[]
}

interface State {
  word: number
  cards: [number[], number[]]
  /** The destination's copy of a page is what the page holds. */
  fresh: boolean[]
  vcpus: VcpuModel[]
  /** What the coordinator does next: its place in the script, and within that. */
  line: number
  item: number
  retired: Table
  target: number
  dirty: boolean[]
}

type Line = 'swap' | 'pause' | 'await round' | 'await pause' | 'collect' | 'collect in place' | 'done'

function script(variant: Variant): Line[] {
  const round: Record<Variant['collect'], Line[]> = {
    swap: ['swap', 'await round', 'collect'],
    'swap-without-handshake': ['swap', 'collect'],
    'no-swap': ['collect in place'],
  }
  const rounds = Array.from({ length: variant.rounds }, () => round[variant.collect]).flat()
  const last: Line[] = variant.collect === 'no-swap' ? ['collect in place'] : ['swap', 'await round', 'collect']
  return [...rounds, 'pause', 'await pause', ...last, 'done']
}

export function safepointModel(variant: Variant): Model<State> {
  const lines = script(variant)
  const vcpu: VcpuModel = {
    at: 'poll',
    phase: VCPU.running,
    seen: 0,
    ack: 0,
    table: 0,
    word: 0,
    page: 0,
    stores: variant.storesPerVcpu,
    rests: 0,
    faults: 0,
    wake: 0,
    wakeSeen: 0,
    timed: false,
    inside: false,
    buffer: [],
  }
  const initial: State = {
    word: 0,
    cards: [
      [0, 0],
      [0, 0],
    ],
    fresh: [true, true],
    vcpus: [0, 1].map((index) => ({
      ...vcpu,
      rests: variant.rests[index] as number,
      faults: variant.faults[index] as number,
    })),
    line: 0,
    item: 0,
    retired: 0,
    target: 0,
    dirty: [false, false],
  }
  const copy = (state: State): State => ({
    ...state,
    cards: [[...state.cards[0]], [...state.cards[1]]],
    fresh: [...state.fresh],
    dirty: [...state.dirty],
    vcpus: state.vcpus.map((one) => ({ ...one, buffer: [...one.buffer] })),
  })

  const apply = (state: State, entry: Buffered): void => {
    if (entry[0] === 'data') state.fresh[entry[1]] = false
    else state.cards[entry[1]][entry[2]] = 1
  }
  const plainStore = (state: State, one: VcpuModel, entry: Buffered): void => {
    if (variant.storeBuffer) one.buffer.push(entry)
    else apply(state, entry)
  }

  function vcpuSteps(state: State, index: number): Step<State>[] {
    const steps: Step<State>[] = []
    const take = (label: string, change: (next: State, one: VcpuModel) => void): void => {
      const next = copy(state)
      change(next, next.vcpus[index] as VcpuModel)
      steps.push({ label: `vCPU ${index}: ${label}`, state: next })
    }
    const me = state.vcpus[index] as VcpuModel
    const [head] = me.buffer
    if (head !== undefined) {
      take(`${head[0]} becomes visible`, (next, one) => {
        apply(next, head)
        one.buffer.shift()
      })
    }
    /** An atomic store: everything stored before must be visible first. */
    const atomically = (label: string, change: (next: State, one: VcpuModel) => void): void => {
      if (me.buffer.length === 0) take(label, change)
    }
    switch (me.at) {
      case 'poll': {
        const order = obey('boundary', me.seen, state.word)
        if (order.acknowledge)
          take('loads a new word', (_, one) => Object.assign(one, { at: 'acknowledge', word: state.word }))
        else if (order.phase !== VCPU.running)
          take('sees the pause', (_, one) => Object.assign(one, { at: 'load wake', timed: false }))
        else if (me.stores > 0 || me.rests > 0) take('goes on', (_, one) => Object.assign(one, { at: 'choose' }))
        break
      }
      case 'acknowledge':
        atomically('acknowledges', (_, one) => {
          const order = obey(one.inside ? 'inside' : 'boundary', one.seen, one.word)
          const at: At = one.inside ? 'store' : order.phase === VCPU.running ? 'poll' : 'load wake'
          Object.assign(one, { table: order.table, seen: one.word, ack: one.word, at, word: 0, timed: false })
        })
        break
      case 'choose':
        for (const page of me.stores > 0 ? PAGES : []) {
          take(`begins a step on page ${page}`, (_, one) =>
            Object.assign(one, { at: 'store', page, stores: one.stores - 1 }),
          )
          if (me.faults > 0) {
            take(`faults on page ${page}`, (_, one) =>
              Object.assign(one, {
                at: 'park inside',
                page,
                stores: one.stores - 1,
                faults: one.faults - 1,
                inside: true,
              }),
            )
          }
        }
        if (me.rests > 0) {
          take('wants to rest', (_, one) => Object.assign(one, { at: 'load wake', timed: true, rests: one.rests - 1 }))
        }
        break
      case 'store':
        take(`stores into page ${me.page}`, (next, one) => {
          plainStore(next, one, ['data', one.page])
          Object.assign(one, { at: 'check', inside: false })
        })
        break
      case 'check': {
        const own = me.buffer.some((entry) => entry[0] === 'mark' && entry[1] === me.table && entry[2] === me.page)
        const marked = own || state.cards[me.table][me.page] === 1
        take(marked ? 'finds its mark' : 'marks', (next, one) => {
          if (!marked) plainStore(next, one, ['mark', one.table, one.page])
          Object.assign(one, { at: 'poll', page: 0 })
        })
        break
      }
      case 'load wake':
        take('loads its wake word', (_, one) => Object.assign(one, { at: 'look again', wakeSeen: one.wake }))
        break
      case 'look again':
        take('looks at the word again', (_, one) => {
          if (state.word === one.seen) one.at = 'park'
          else Object.assign(one, { at: 'poll', timed: false, wakeSeen: 0 })
        })
        break
      case 'park':
        atomically('parks', (_, one) => Object.assign(one, { at: 'parked', phase: parkPhase('boundary') }))
        break
      case 'park inside':
        atomically('parks inside', (_, one) => Object.assign(one, { at: 'parked inside', phase: parkPhase('inside') }))
        break
      case 'parked':
        if (!me.timed && me.wake === me.wakeSeen) break
        if (variant.leaveBackwards)
          take('loads the word too early', (_, one) => Object.assign(one, { at: 'run late', word: state.word }))
        else
          take('leaves its park', (_, one) =>
            Object.assign(one, { at: 'poll', phase: VCPU.running, timed: false, wakeSeen: 0 }),
          )
        break
      case 'parked inside':
        take('leaves its fault', (_, one) => Object.assign(one, { at: 'obey inside', phase: VCPU.running }))
        break
      case 'obey inside': {
        const order = obey('inside', me.seen, state.word)
        take('loads the word', (_, one) =>
          Object.assign(one, order.acknowledge ? { at: 'acknowledge', word: state.word } : { at: 'store' }),
        )
        break
      }
      case 'run late':
        atomically('runs by the old word', (_, one) => {
          const stale = one.word === one.seen && one.stores + one.rests > 0
          Object.assign(one, { phase: VCPU.running, at: stale ? 'choose' : 'poll', word: 0, timed: false, wakeSeen: 0 })
        })
        break
    }
    return steps
  }

  function coordinatorSteps(state: State): Step<State>[] {
    const line = lines[state.line]
    const take = (label: string, change: (next: State) => void): Step<State>[] => {
      const next = copy(state)
      change(next)
      return [{ label: `coordinator: ${label}`, state: next }]
    }
    const onwards = (next: State, items: number): void => {
      next.item++
      if (next.item >= items) Object.assign(next, { line: next.line + 1, item: 0 })
    }
    /** Nothing is read of a page that was not marked. */
    const skipClean = (next: State): void => {
      while (next.item >= 2 && !next.dirty[next.item % 2]) onwards(next, 4)
    }
    switch (line) {
      case 'swap':
        return take('swaps the tables', (next) => {
          next.retired = tableOf(next.word)
          next.word = nextWord(next.word, { table: next.retired === 0 ? 1 : 0 })
          next.target = next.word
          onwards(next, 1)
        })
      case 'pause':
        if (state.item === 0) {
          return take('publishes the pause', (next) => {
            next.word = nextWord(next.word, { pause: true })
            next.target = next.word
            onwards(next, 2)
          })
        }
        return take('wakes both', (next) => {
          for (const one of next.vcpus) one.wake++
          onwards(next, 2)
        })
      case 'await round':
      case 'await pause': {
        const { phase, ack } = state.vcpus[state.item] as VcpuModel
        const kind = line === 'await round' ? 'round' : 'pause'
        if (!acknowledged(phase, ack, state.target, kind)) return []
        return take(`has vCPU ${state.item}`, (next) => onwards(next, 2))
      }
      case 'collect':
      case 'collect in place': {
        // Items: clear and note the cards of page 0 and 1, then copy page 0 and 1.
        const page = state.item % 2
        if (state.item < 2) {
          return take(`harvests page ${page}`, (next) => {
            const cards = next.cards[line === 'collect' ? next.retired : 0]
            next.dirty[page] = cards[page] === 1
            cards[page] = 0
            onwards(next, 4)
            skipClean(next)
          })
        }
        return take(`copies page ${page}`, (next) => {
          next.fresh[page] = true
          next.dirty[page] = false
          onwards(next, 4)
          skipClean(next)
        })
      }
      default:
        return []
    }
  }

  /** Steps that nobody else can see or influence: taking them first leaves every outcome reachable. */
  const isLocal = ({ at }: VcpuModel): boolean => at === 'choose' || (at === 'store' && variant.storeBuffer)

  const finished = (state: State): boolean => lines[state.line] === 'done'
  return {
    initial,
    successors: (state) => {
      if (finished(state)) return []
      const local = state.vcpus.findIndex(isLocal)
      if (local !== -1) return vcpuSteps(state, local)
      return [...coordinatorSteps(state), ...vcpuSteps(state, 0), ...vcpuSteps(state, 1)]
    },
    violation: (state) => {
      if (!finished(state)) return null
      return state.fresh.every((fresh) => fresh) && state.vcpus.every(({ buffer }) => buffer.length === 0)
        ? null
        : 'a write was lost'
    },
    mayEnd: finished,
    key: (state) => {
      const vcpus = state.vcpus.map((one) => Object.values(one).join())
      return `${state.word}/${state.cards}/${state.fresh}/${vcpus.join('/')}/${state.line}.${state.item}/${state.dirty}`
    },
  }
}
