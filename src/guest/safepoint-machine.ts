// The safepoint as pure functions (R2–R5, R7): the one word, what a vCPU does when it meets it, and when a coordinator
// may take a vCPU as acknowledged. The vCPU threads, GuestVcpus and the explorer all use these.
//
//   STARTING ──leave──► RUNNING ──pause, throttle, pace, idle──► PARKED_BOUNDARY ──leave──► RUNNING
//                          │ └───────fault, inside a step──────► PARKED_INSIDE ───leave──► RUNNING
//                          └──throw, exit──► DEAD (for good)
//
//   word   │ epoch, 24 bits │ mode bits, reserved │ shared │ pull │ pause │ table │

/** States of a vCPU, as stored in its block. */
export const VCPU = { starting: 0, running: 1, parkedBoundary: 2, parkedInside: 3, dead: 4 } as const
export type VcpuPhase = (typeof VCPU)[keyof typeof VCPU]
export type Table = 0 | 1
/** What a handshake is for: a round (card tables), a page taken away, a pause, or one vCPU that is to stand still. */
export type HandshakeKind = 'round' | 'revocation' | 'pause' | 'hold'

const TABLE_BIT = 1
const PAUSE_BIT = 2
const PULL_BIT = 4
const SHARED_BIT = 8
const EPOCH_SHIFT = 8
const EPOCH_MASK = 0xff_ffff

/** Index of the card table in use. */
export const tableOf = (word: number): Table => (word & TABLE_BIT) as Table
export const isPause = (word: number): boolean => (word & PAUSE_BIT) !== 0
/** Pages may be absent: accessors test presence (R8). */
export const isPull = (word: number): boolean => (word & PULL_BIT) !== 0
/** Pages belong to one of two hosts: accessors test presence and note who uses what (R25). */
export const isShared = (word: number): boolean => (word & SHARED_BIT) !== 0
export const epochOf = (word: number): number => word >>> EPOCH_SHIFT

/** Builds a word (an Int32). The epoch wraps at 2^24. */
export function wordOf(epoch: number, pause: boolean, table: Table, pull = false, shared = false): number {
  const modes = (shared ? SHARED_BIT : 0) | (pull ? PULL_BIT : 0) | (pause ? PAUSE_BIT : 0)
  return ((epoch & EPOCH_MASK) << EPOCH_SHIFT) | modes | table
}

/** The word one epoch later, changed as asked; everything else stays. */
export function nextWord(
  word: number,
  change: { pause?: boolean; table?: Table; pull?: boolean; shared?: boolean },
): number {
  const { pause = isPause(word), table = tableOf(word), pull = isPull(word), shared = isShared(word) } = change
  return wordOf(epochOf(word) + 1, pause, table, pull, shared)
}

/** True when `word` is of the epoch of `target` or of a later one; right across the wrap. */
export function reached(word: number, target: number): boolean {
  return ((epochOf(word) - epochOf(target)) & EPOCH_MASK) <= EPOCH_MASK >>> 1
}

/** What a vCPU must do before it touches the guest again. */
export interface Obedience {
  /** Store `word` as acknowledged and use `table` from now on. */
  readonly acknowledge: boolean
  readonly table: Table
  /** The state to store next. */
  readonly phase: VcpuPhase
}

/**
 * A running vCPU meets `word`; `seen` is the last one it obeyed. At a step boundary a pause is obeyed, whether the word
 * is new or not; inside a step (back from a fault) it waits for the boundary. A paused vCPU acknowledges first and
 * parks then. `held`: this vCPU alone is to stand still, as in a pause (R26).
 */
export function obey(place: 'boundary' | 'inside', seen: number, word: number, held = false): Obedience {
  const phase = place === 'boundary' && (held || isPause(word)) ? VCPU.parkedBoundary : VCPU.running
  return { acknowledge: word !== seen, table: tableOf(word), phase }
}

/** The state a vCPU parks in. R4: only a park at a step boundary may cross to the other host. */
export const parkPhase = (place: 'boundary' | 'inside'): VcpuPhase =>
  place === 'boundary' ? VCPU.parkedBoundary : VCPU.parkedInside

/** Whether the vCPU is to stand still at a step boundary. */
const stops = (kind: HandshakeKind): boolean => kind === 'pause' || kind === 'hold'

/**
 * May the coordinator that published `target` take this vCPU as having obeyed it? It publishes first and loads the
 * state then (R5). R4: a park at a boundary counts for everything, one inside a step for all but a pause. R7: the dead
 * obey.
 */
export function acknowledged(phase: number, ackWord: number, target: number, kind: HandshakeKind): boolean {
  switch (phase) {
    case VCPU.dead:
    case VCPU.parkedBoundary:
      return true
    case VCPU.parkedInside:
      return !stops(kind)
    case VCPU.running:
      return !stops(kind) && reached(ackWord, target)
    default:
      return false
  }
}
