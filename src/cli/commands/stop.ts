// `godwit stop`: ends a guest.

import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const name = guestNameOf(args)
  await agentOf(args).stopGuest(name, args.flag('force'))
  terminal.out(args.flag('json') ? JSON.stringify({ guest: name, done: 'stop' }) : `guest ${name} has ended`)
  return 0
}
