// `godwit cancel`: cancels the migration of a guest.

import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const name = guestNameOf(args)
  await agentOf(args).cancel(name)
  terminal.out(
    args.flag('json')
      ? JSON.stringify({ guest: name, done: 'cancel' })
      : `the migration of ${name} is cancelled; the guest goes on where it is`,
  )
  return 0
}
