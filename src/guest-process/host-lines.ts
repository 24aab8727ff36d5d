// The lines of a guest's gateways as its host opens them and hands them on: to the status, to the other host of a
// migration, and to the host that takes a kept copy over. Used by host.ts.

import type { GuestConfig } from '../guest/config.ts'
import type { GuestService } from '../service/guest-service.ts'
import { ServiceLines } from '../service/service-lines.ts'
import type { Reservation } from './host-port.ts'

/** Where gateways may reach a guest. */
export interface ListenForGateways {
  readonly host: string
  /** First and last port to try; [0, 0]: the system chooses. */
  readonly portRange: readonly [number, number]
}

/** Null: nobody asked for lines, or the program does not serve. Throws `no-port`. */
export async function openLines(
  listen: ListenForGateways | null | undefined,
  config: GuestConfig,
  service: GuestService | null,
): Promise<ServiceLines | null> {
  if (service === null || !listen) return null
  const { id, name, vcpus, program, memoryBytes } = config
  return await ServiceLines.listen({ ...listen, guest: { id, name, vcpus, program, memoryBytes } }, service)
}

/** The gateways of a guest that comes in hear where its source serves it. */
export function tellSource(lines: ServiceLines | null, { source }: Reservation, sourceAddress: string): void {
  if (source.linePort !== undefined) lines?.elsewhere({ host: sourceAddress, port: source.linePort })
}
