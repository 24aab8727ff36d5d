// The vCPUs of a guest as a migration sees them, where it is to see something else than the real ones.

import type { Vcpus } from './vcpus-port.ts'

/** Passes everything on to `vcpus`, but for what `over` does in its place. */
export function wrappedVcpus(vcpus: Vcpus, over: Omit<Partial<Vcpus>, 'handshakes'>): Vcpus {
  return {
    get handshakes() {
      return vcpus.handshakes
    },
    swapCards: () => vcpus.swapCards(),
    handshake: () => vcpus.handshake(),
    setPulling: (pulling) => vcpus.setPulling(pulling),
    setShared: (shared) => vcpus.setShared(shared),
    beginHeld: (paused) => vcpus.beginHeld(paused),
    hold: (vcpu) => vcpus.hold(vcpu),
    release: (vcpu) => vcpus.release(vcpu),
    saveOne: (vcpu) => vcpus.saveOne(vcpu),
    loadOne: (vcpu, state) => vcpus.loadOne(vcpu, state),
    pause: () => vcpus.pause(),
    halt: () => vcpus.halt(),
    resume: () => vcpus.resume(),
    throttle: (share) => vcpus.throttle(share),
    save: () => vcpus.save(),
    load: (states) => vcpus.load(states),
    steps: () => vcpus.steps(),
    parkedAt: () => vcpus.parkedAt(),
    leftAt: () => vcpus.leftAt(),
    running: () => vcpus.running(),
    ...over,
  }
}
