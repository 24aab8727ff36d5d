// The vCPUs of a guest that serves, as a migration sees them: the service hears when they stop here for the switch and when
// they run here. A migration sees these instead of the real ones and needs to know nothing of it.

import type { Vcpus } from '../guest/vcpus-port.ts'
import { wrappedVcpus } from '../guest/wrapped-vcpus.ts'
import type { GuestService } from './guest-service.ts'

export const servingVcpus = (vcpus: Vcpus, service: GuestService): Vcpus =>
  wrappedVcpus(vcpus, {
    pause: async () => {
      service.leave()
      try {
        const time = await vcpus.pause()
        // Not now: this is the downtime.
        setImmediate(() => service.left())
        return time
      } catch (thrown) {
        service.arrive()
        throw thrown
      }
    },
    halt: () => {
      service.leave()
      vcpus.halt()
      // For good.
      setImmediate(() => service.close())
    },
    // R26, R30: one vCPU at a time; the others are served on.
    hold: async (vcpu) => {
      service.leave(vcpu)
      try {
        const time = await vcpus.hold(vcpu)
        setImmediate(() => service.left(vcpu))
        return time
      } catch (thrown) {
        service.arrive(vcpu)
        throw thrown
      }
    },
    release: (vcpu) => {
      vcpus.release(vcpu)
      service.arrive(vcpu)
    },
    resume: () => {
      vcpus.resume()
      service.arrive()
    },
  })
