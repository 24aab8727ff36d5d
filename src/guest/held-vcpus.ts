// The vCPUs of a guest that its operator has paused: they move with it and stay paused at either end. A migration sees
// these instead of the real ones and needs to know nothing of it.

import type { Vcpus } from './vcpus-port.ts'

/** Never resumes them, and reports no times: a guest that stood still before and after has no downtime. */
export function heldVcpus(vcpus: Vcpus): Vcpus {
  return {
    get handshakes() {
      return vcpus.handshakes
    },
    swapCards: () => vcpus.swapCards(),
    handshake: () => vcpus.handshake(),
    setPulling: (pulling) => vcpus.setPulling(pulling),
    pause: () => vcpus.pause(),
    halt: () => vcpus.halt(),
    resume: () => {},
    throttle: () => {},
    save: () => vcpus.save(),
    load: (states) => vcpus.load(states),
    steps: () => vcpus.steps(),
    parkedAt: () => [],
    leftAt: () => [],
    running: async () => {},
  }
}
