// `godwit recover`: lets the destination of a paused pull dial its source at once, over another address if given (R23).

import { GodwitError } from '../../errors.ts'
import { formatCount } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf } from '../moving.ts'
import { missingPagesOf, pausedHint } from '../pull-view.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const id = args.positionals[0] ?? ''
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new GodwitError('usage', `'${id}' is no migration`, {
      hint: 'give its 32 hex digits; godwit show GUEST prints them',
    })
  }
  const guest = await agentOf(args).recover(id, args.text('via') ?? null)
  const { name, state, migration } = guest
  const missing = missingPagesOf(guest)
  const rest = missing === null ? '' : `, ${formatCount(missing)} pages missing`
  const paused = migration?.paused ?? null
  if (args.flag('json')) terminal.out(JSON.stringify(guest))
  else if (state !== 'pulling') terminal.out(`guest ${name} is ${state}`)
  else if (paused === null) terminal.out(`guest ${name} pulls its memory again${rest}`)
  else terminal.out(`guest ${name} is still paused: ${paused}${rest}\n  hint: ${pausedHint(id)}`)
  return state === 'pulling' && paused !== null ? 1 : 0
}
