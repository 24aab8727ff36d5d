// `godwit resolve`: lets a person decide what becomes of a guest when the two hosts could not (R21), or when a part of
// its memory is lost (R22).

import { GodwitError } from '../../errors.ts'
import type { Resolution } from '../../guest-process/host-port.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import { lostHint } from '../pull-view.ts'
import type { Terminal } from '../terminal.ts'

const DECISIONS = ['take', 'abandon', 'take-stale'] as const

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const name = guestNameOf(args)
  const given = DECISIONS.filter((decision) => args.flag(decision))
  const what: Resolution = given[0] ?? 'status'
  const peerIsDead = args.flag('peer-is-dead')
  if (given.length > 1) {
    const both = given.map((decision) => `--${decision}`).join(' and ')
    throw new GodwitError('usage', `${both} exclude each other`, { hint: 'give one of them' })
  }
  if (peerIsDead && what === 'status') {
    throw new GodwitError('usage', '--peer-is-dead means nothing without a decision', {
      hint: 'give --take, --abandon or --take-stale with it, neither to see how the guest stands',
    })
  }
  const guest = await agentOf(args).resolve(name, { what, peerIsDead })
  if (args.flag('json')) terminal.out(JSON.stringify(guest))
  else if (what === 'abandon') terminal.out(`guest ${name} is given up: it has ended here, its memory is gone`)
  else if (what === 'take-stale') {
    terminal.out(`guest ${name} is ${guest.state} here as it was at the switch; what it did since is lost`)
  } else if (guest.state === 'lost') {
    terminal.out(`guest ${name} is lost: part of its memory is gone, it runs nowhere\n  hint: ${lostHint(guest)}`)
  } else {
    const where = {
      here: 'it may run here',
      elsewhere: 'the other host runs it',
      both: 'both hosts run parts of it',
      undecided: 'still undecided',
    }
    terminal.out(`guest ${name} is ${guest.state}: ${where[guest.owner]}`)
  }
  if (guest.state === 'lost' && what === 'status') return 4
  return guest.owner === 'undecided' && what !== 'abandon' ? 3 : 0
}
