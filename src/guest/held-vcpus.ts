// The vCPUs of a guest that its operator has paused: they move with it and stay paused at either end. A migration sees
// these instead of the real ones and needs to know nothing of it.

import type { Vcpus } from './vcpus-port.ts'
import { wrappedVcpus } from './wrapped-vcpus.ts'

/** Never resumes them, and reports no times: a guest that stood still before and after has no downtime. */
export const heldVcpus = (vcpus: Vcpus): Vcpus =>
  wrappedVcpus(vcpus, {
    resume: () => {},
    beginHeld: () => vcpus.beginHeld(true),
    throttle: () => {},
    parkedAt: () => [],
    leftAt: () => [],
    running: async () => {},
  })
