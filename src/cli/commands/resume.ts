// `godwit resume`: lets a paused guest go on.

import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const name = guestNameOf(args)
  await agentOf(args).resume(name)
  terminal.out(args.flag('json') ? JSON.stringify({ guest: name, done: 'resume' }) : `guest ${name} runs again`)
  return 0
}
