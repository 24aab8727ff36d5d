// `godwit logs`: the end of a guest's log.

import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const name = guestNameOf(args)
  const text = await agentOf(args).logs(name)
  terminal.out(args.flag('json') ? JSON.stringify({ guest: name, text }) : text.trimEnd())
  return 0
}
