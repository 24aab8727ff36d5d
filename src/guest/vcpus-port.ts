// The vCPUs as a migration and the host of a guest see them. GuestVcpus implements it with real threads; the
// simulation with virtual ones.

/** A vCPU between two steps. */
export interface VcpuState {
  /** Steps done since the guest was created. */
  steps: number
  /** The program's registers, 1,024 bytes. */
  registers: Uint8Array
}

export interface HandshakeTime {
  readonly ms: number
}

/** The vCPUs as a migration sees them. */
export interface Vcpus {
  /** Handshakes since the guest was created. */
  readonly handshakes: { readonly count: number; readonly totalMs: number; readonly maxMs: number }
  /** R1: swaps the card tables; afterwards the retired table is quiet. Returns its index. */
  swapCards(): Promise<HandshakeTime & { retired: 0 | 1 }>
  /** R8: every vCPU has acknowledged, or stands still, after this was called: what was placed before is seen by all. */
  handshake(): Promise<HandshakeTime>
  /** From the next resume on, or at once: pages may be absent (R8). False: all are here. */
  setPulling(pulling: boolean): void
  /** Pages belong to one of two hosts, or all are here: coherent accessors or plain ones (R25). Every vCPU has them when it resolves. */
  setShared(shared: boolean): Promise<HandshakeTime>
  /** At the side that vCPUs cross to: each is held, and has coherent accessors once it is released. `paused`: it stays paused then. */
  beginHeld(paused?: boolean): Promise<void>
  /** R26: stops one vCPU at a step boundary; the others run. Throws `vcpu-stuck`, after which it runs on. */
  hold(vcpu: number): Promise<HandshakeTime>
  /** Lets one vCPU run that was held. */
  release(vcpu: number): void
  /** Registers and steps of a vCPU that is held. */
  saveOne(vcpu: number): VcpuState
  /** Only of a vCPU that is held: it is to go on from there. */
  loadOne(vcpu: number, state: VcpuState): void
  /** Parks every vCPU at a step boundary. */
  pause(): Promise<HandshakeTime>
  /** Stops every vCPU where it is, in a step or between two, for good: nobody waits until they have. */
  halt(): void
  resume(): void
  /** Share of time taken from the vCPUs, 0–0.99. */
  throttle(share: number): void
  /** Registers and steps; only while paused. */
  save(): VcpuState[]
  /** Only before the first resume. */
  load(states: readonly VcpuState[]): void
  steps(): number
  /** hrtime ns of each vCPU's last park for a pause, and of leaving it. */
  parkedAt(): bigint[]
  leftAt(): bigint[]
  /** Resolves when every vCPU has left the park of the last pause. */
  running(): Promise<void>
}
