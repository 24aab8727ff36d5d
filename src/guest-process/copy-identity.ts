// Whether the memory that a guest left behind may be what it begins with when it comes back. The agent asks before it gives a
// reservation to a kept copy, and the guest process that holds the copy once more.

import { isDeepStrictEqual } from 'node:util'
import type { GuestConfig } from '../guest/config.ts'
import { wholeAtSwitch } from '../migration/settings.ts'
import type { CAPABILITIES } from '../wire/protocol.ts'
import type { Reservation } from './host-port.ts'

const CAPABILITY: (typeof CAPABILITIES)[number] = 'copy'

/**
 * `config` and `epoch`: of the guest when it left here. It has to be the same guest in every respect, at a later epoch
 * (R21), and a movement that places all pages before the switch (R22). What is in the copy need not be known: it is hashed.
 */
export function isCopyFor(config: GuestConfig, epoch: number, reservation: Reservation): boolean {
  const { guest, settings, capabilities } = reservation
  const same = isDeepStrictEqual(guest, config) && reservation.epoch > epoch
  return same && wholeAtSwitch(settings.movement) && capabilities.includes(CAPABILITY)
}
