// The state that crosses at the switch, as the destination takes it: does it fit the guest and this attempt? Its free map is in
// place afterwards (R17). Called by destination-session.ts.

import { GodwitError } from '../errors.ts'
import { loadFree } from '../guest/free-map.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { DestinationWorld } from './destination-context.ts'

/** `neighbours`: guests here that the source was told of. Throws `unexpected-message`, `bad-message`. */
export function acceptState(
  { memory, kernels, epoch }: DestinationWorld,
  state: MessageOf<'state'>,
  neighbours: number,
): void {
  if (state.epoch !== epoch) throw new GodwitError('unexpected-message', `state of epoch ${state.epoch}, not ${epoch}`)
  if (state.vcpus.length !== memory.layout.vcpus) {
    const message = `state of ${state.vcpus.length} vCPUs for a guest of ${memory.layout.vcpus}`
    throw new GodwitError('bad-message', message)
  }
  // What came from other guests here is this guest's only if its source had it, too.
  if (neighbours > 0 && state.verify !== 'digest') {
    throw new GodwitError('unexpected-message', `verify ${state.verify} where pages are those of other guests`)
  }
  loadFree(memory, state.free, kernels)
}
