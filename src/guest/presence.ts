// Which pages are here, as pure transition functions: the states of a page that is pulled (R8, R9, R23) and the
// ownership of a page that moves between two hosts (R25). Post-copy and soft migration put them into effect with
// compare-exchange; the explorer visits every interleaving.
//
//   ABSENT ──request──► REQUESTED ─┐
//      │ └───────claim─────────────┴─► INSTALLING ──placed──► INSTALLED ──publish──► PRESENT
//      └──write─► WRITING ──wrote──► LOCAL ─────────────────────────────────────publish────►┘
//   spoilt: INSTALLING → REQUESTED     cut: INSTALLING, REQUESTED → ABSENT
//           revoke: INSTALLED, LOCAL, PRESENT → ABSENT

/** States of a page at the side that pulls; one byte a page in the control memory. */
export const PRESENCE = {
  absent: 0,
  requested: 1,
  installing: 2,
  installed: 3,
  local: 4,
  present: 5,
  writing: 6,
} as const
export type Presence = (typeof PRESENCE)[keyof typeof PRESENCE]

/**
 * request: a vCPU needs the page. claim: a transfer thread is about to read its bytes into guest memory. placed: they
 * are there. write: a vCPU is about to write the whole page. wrote: it has. publish: a handshake has ended since it was placed or written.
 * spoilt: what was placed has a wrong hash (R10). cut: the link and every channel of it are gone. revoke: the page is given away.
 */
export type PresenceEvent = 'request' | 'claim' | 'placed' | 'write' | 'wrote' | 'publish' | 'spoilt' | 'cut' | 'revoke'

const { absent, requested, installing, installed, local, present, writing } = PRESENCE
const TABLE: Readonly<Record<PresenceEvent, Partial<Record<Presence, Presence>>>> = {
  request: { [absent]: requested },
  claim: { [absent]: installing, [requested]: installing },
  placed: { [installing]: installed },
  write: { [absent]: writing },
  wrote: { [writing]: local },
  publish: { [installed]: present, [local]: present },
  spoilt: { [installing]: requested },
  cut: { [installing]: absent, [requested]: absent },
  revoke: { [installed]: absent, [local]: absent, [present]: absent },
}

/** The state after the event, or null where it is not allowed: the compare-exchange fails, whoever tried must not go on. */
export function nextPresence(state: Presence, event: PresenceEvent): Presence | null {
  return TABLE[event][state] ?? null
}

/** R8: what a vCPU does that meets a page: go on, go on after one `Atomics.load`, ask for it, or wait. */
export function onAccess(state: Presence): 'go' | 'fence' | 'ask' | 'wait' {
  if (state === present) return 'go'
  if (state === installed || state === local) return 'fence'
  return state === absent ? 'ask' : 'wait'
}

/** R23: pages the other side must send again after a cut; LOCAL counts as present. */
export function isMissing(state: Presence): boolean {
  return state === absent || state === requested || state === installing
}

/** R25: one side's knowledge of one page. */
export interface Ownership {
  /** Ours; the other side's; or given and not yet confirmed: its bytes are kept. */
  readonly holder: 'mine' | 'theirs' | 'in-flight'
  /** Generation of the bytes this side has or had; one higher with each GIVE. */
  readonly generation: number
  /** We asked for it and have no answer yet. */
  readonly asked: boolean
  /** The other side asked for it: to be given once it may be (R6, R11). */
  readonly owed: boolean
  /** R6: we asked and got it, and the one access it was asked for is still to be made; until then it stays. */
  readonly accessDue: boolean
}

export type OwnershipMessage =
  | { readonly type: 'ask' }
  | { readonly type: 'give'; readonly generation: number }
  | { readonly type: 'got'; readonly generation: number }
  /** After a cut: the generation of the bytes the sender has. */
  | { readonly type: 'have'; readonly generation: number }

/**
 * want: a vCPU here needs the page. accessed: it made its access. give: the page was revoked here, the handshake is
 * over, the bytes are copied (R11). cut: the link is gone, with everything that was under way on it.
 */
export type OwnershipEvent =
  | { readonly type: 'want' | 'accessed' | 'give' | 'cut' }
  | { readonly type: 'message'; readonly message: OwnershipMessage }

export interface OwnershipStep {
  readonly state: Ownership
  /** To be sent to the other side, or null. */
  readonly send: OwnershipMessage | null
}

/** A page at the side that owns it at first, and at the other. */
export const ownedHere: Ownership = { holder: 'mine', generation: 1, asked: false, owed: false, accessDue: false }
export const ownedThere: Ownership = { ...ownedHere, holder: 'theirs', generation: 0 }

/** May the page be given away now? Somebody asked for it, and nobody here was granted an access that is still due. */
export const mayGive = (state: Ownership): boolean => state.holder === 'mine' && state.owed && !state.accessDue

const quiet = (state: Ownership): OwnershipStep => ({ state, send: null })

/** One side's step. Events that change nothing are answered with the same state. */
export function nextOwnership(state: Ownership, event: OwnershipEvent): OwnershipStep {
  switch (event.type) {
    case 'want':
      // What is in flight may come back; its answer is awaited first.
      if (state.holder !== 'theirs' || state.asked) return quiet(state)
      return { state: { ...state, asked: true }, send: { type: 'ask' } }
    case 'accessed':
      return quiet({ ...state, accessDue: false })
    case 'give': {
      if (!mayGive(state)) return quiet(state)
      const send = { type: 'give', generation: state.generation + 1 } as const
      return { state: { ...state, holder: 'in-flight', owed: false }, send }
    }
    case 'cut':
      return quiet({ ...state, asked: false, owed: false })
    case 'message':
      return onMessage(state, event.message)
  }
}

function onMessage(state: Ownership, message: OwnershipMessage): OwnershipStep {
  switch (message.type) {
    case 'ask':
      // An ask for a page that is already under way to the asker has its answer.
      return quiet(state.holder === 'mine' ? { ...state, owed: true } : state)
    case 'give': {
      if (state.holder !== 'theirs' || message.generation <= state.generation) return quiet(state)
      const { generation } = message
      const next = { ...state, holder: 'mine', generation, asked: false, accessDue: state.asked } as const
      return { state: next, send: { type: 'got', generation } }
    }
    case 'got':
      if (state.holder !== 'in-flight' || message.generation !== state.generation + 1) return quiet(state)
      return quiet({ ...state, holder: 'theirs', generation: message.generation })
    case 'have':
      // The higher generation owns: the other side got it, or it never left.
      if (state.holder !== 'in-flight') return quiet(state)
      if (message.generation <= state.generation) return quiet({ ...state, holder: 'mine' })
      return quiet({ ...state, holder: 'theirs', generation: message.generation })
  }
}
