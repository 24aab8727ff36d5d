// What a front of the gateway needs of a guest: commands to its vCPUs, each executed once wherever the vCPU runs (R30).
// A RESP front is written against this; guest-backend.ts does it over lines to guest processes.

/**
 * `unreachable`: nobody ran the vCPU for as long as a command is held; not executed. `unknown`: it may or may not have been
 * executed: its session was forgotten, or the line was cut and nobody could be asked in time.
 */
export type BackendError = 'unreachable' | 'unknown'

export interface Backend {
  readonly vcpus: number
  /**
   * `bytes`: an encoded request (programs/kv/request-codec.ts), copied before it returns. `onReply` is called exactly once,
   * in the order of sends to the same vCPU: RESP bytes, good until it returns, or an error.
   */
  send(vcpu: number, bytes: Uint8Array, onReply: (reply: Uint8Array | BackendError) => void): void
  /** Too much is waiting for it: whoever reads clients should pause until `onDrain`. */
  isFull(vcpu: number): boolean
  onDrain(listener: () => void): void
  /** Address of the line to where the vCPU runs; null while it is between hosts. */
  place(vcpu: number): { host: string; port: number } | null
  /** Called when a place changed. */
  onPlaces(listener: () => void): void
  close(): Promise<void>
}
