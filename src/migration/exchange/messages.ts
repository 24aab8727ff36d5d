// What the main thread and its exchange thread say to each other.

import type { SharedGuestMemory } from '../../guest/memory.ts'
import type { VcpuState } from '../../guest/vcpus-port.ts'
import type { PlainError } from '../transfer/thread-messages.ts'
import type { PushWhat } from './push-choice.ts'

/** The source listens on a port of a range, the destination dials it at each link. */
export type ExchangeRole =
  | { readonly role: 'listens'; readonly host: string; readonly portRange: readonly [number, number] }
  | { readonly role: 'dials'; readonly port: number }

export interface ExchangeThreadData {
  readonly memory: SharedGuestMemory
  readonly where: ExchangeRole
  readonly migration: string
  readonly token: string
  /** Page hashes are kept (R15), so that what goes without data is compared. */
  readonly hash: boolean
}

export type ToExchangeThread =
  | { type: 'link'; generation: number; host: string | null }
  /** Gives up a link that is not up yet. */
  | { type: 'unlink'; generation: number }
  | { type: 'quiet' }
  | { type: 'unquiet'; error: PlainError }
  | { type: 'cross'; vcpu: number; state: VcpuState }
  | { type: 'push'; what: PushWhat }
  | { type: 'close' }

export type FromExchangeThread =
  | { type: 'listening'; port: number }
  | { type: 'linked'; generation: number }
  /** `up`: the link was in force. */
  | { type: 'failed'; generation: number; up: boolean; error: PlainError }
  | { type: 'revoke' }
  | { type: 'crossed'; vcpu: number }
  | { type: 'cancelled'; vcpu: number }
  | { type: 'arrived'; vcpu: number; state: VcpuState }
  /** Nothing of what the so-manieth order to push asked for is left here or in flight. */
  | { type: 'drained'; push: number }
  /** It cannot go on: no port, or a rule of its own is broken. */
  | { type: 'broken'; error: PlainError }
