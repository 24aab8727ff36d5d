// What a front of the gateway needs of a guest: commands to its vCPUs, each executed once wherever the vCPU runs (R30).
// The RESP front (front.ts) is written against this; guest-backend.ts does it over lines to guest processes.

import type { Request } from '../programs/kv/request.ts'

/**
 * `unreachable`: nobody ran the vCPU for as long as a command is held; not executed. `unknown`: it may or may not have been
 * executed: its session was forgotten, or the line was cut and nobody could be asked in time. `refused`: the guest has no place
 * for one more gateway; not executed.
 */
export type BackendError = 'unreachable' | 'unknown' | 'refused'

/** Whoever sends commands; `tag` is the number it gave with the command. One object serves for all of a client's. */
export interface ReplyTaker {
  /** RESP from `start` up to `end` of `bytes`, good until it returns. */
  onReply(tag: number, bytes: Uint8Array, start: number, end: number): void
  onFailure(tag: number, error: BackendError): void
}

export interface Backend {
  readonly vcpus: number
  /** Commands that wait for their replies, of all vCPUs. */
  readonly waiting: number
  /**
   * Encodes the request (programs/kv/request-codec.ts) into the vCPU's lane before it returns; it may have
   * SERVICE_REQUEST_BYTES when encoded. The taker hears exactly once, later, in the order of sends to the same vCPU.
   */
  send(vcpu: number, request: Request, taker: ReplyTaker, tag: number): void
  /** Too much is waiting for it: whoever reads clients should pause until `onDrain`. `send` takes what comes all the same. */
  isFull(vcpu: number): boolean
  onDrain(listener: () => void): void
  /** Address of the line to where the vCPU runs; null while it is between hosts. */
  place(vcpu: number): { host: string; port: number } | null
  /** Called when a place changed. */
  onPlaces(listener: () => void): void
  close(): Promise<void>
}
