// The vCPUs of a guest that serves, as a migration sees them: the service hears when they stop here for the switch and when
// they run here. A migration sees these instead of the real ones and needs to know nothing of it.

import type { Vcpus } from '../guest/vcpus-port.ts'
import type { GuestService } from './guest-service.ts'

export function servingVcpus(vcpus: Vcpus, service: GuestService): Vcpus {
  return {
    get handshakes() {
      return vcpus.handshakes
    },
    swapCards: () => vcpus.swapCards(),
    handshake: () => vcpus.handshake(),
    setPulling: (pulling) => vcpus.setPulling(pulling),
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
    resume: () => {
      vcpus.resume()
      service.arrive()
    },
    throttle: (share) => vcpus.throttle(share),
    save: () => vcpus.save(),
    load: (states) => vcpus.load(states),
    steps: () => vcpus.steps(),
    parkedAt: () => vcpus.parkedAt(),
    leftAt: () => vcpus.leftAt(),
    running: () => vcpus.running(),
  }
}
