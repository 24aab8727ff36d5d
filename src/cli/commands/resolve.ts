// `godwit resolve`: lets a person decide who may run a guest when the two hosts could not (R21).

import { GodwitError } from '../../errors.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [take, peerIsDead] = [args.flag('take'), args.flag('peer-is-dead')]
  const name = guestNameOf(args)
  if (peerIsDead && !take) {
    throw new GodwitError('usage', '--peer-is-dead means nothing without --take', {
      hint: 'give both to let the guest run here, neither to ask the peer once more',
    })
  }
  const guest = await agentOf(args).resolve(name, { what: take ? 'take' : 'status', peerIsDead })
  const where = { here: 'it may run here', elsewhere: 'the other host runs it', undecided: 'still undecided' }
  terminal.out(args.flag('json') ? JSON.stringify(guest) : `guest ${name} is ${guest.state}: ${where[guest.owner]}`)
  return guest.owner === 'undecided' ? 3 : 0
}
