// `godwit migrate`: asks the agent to move a guest, follows it and prints the report.

import { GodwitError } from '../../errors.ts'
import { parseAddress } from '../agent-client.ts'
import type { Arguments } from '../arguments.ts'
import { follow } from '../follow.ts'
import { agentOf, guestNameOf, settingsOf } from '../moving.ts'
import { exitStatus, summarize } from '../summary.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const to = args.text('to')
  if (to === undefined) throw new GodwitError('usage', 'migrate needs --to', { hint: 'write --to HOST or HOST:PORT' })
  const client = agentOf(args)
  const name = guestNameOf(args)
  const json = args.flag('json')
  const body = { to: parseAddress(to), settings: settingsOf(args) }
  if (args.flag('check')) {
    const answer = await client.check(name, body)
    terminal.out(json ? JSON.stringify(answer) : `${to} would take guest ${name}; nothing was changed`)
    return 0
  }

  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  const id = await client.migrate(name, body)
  process.once('SIGINT', interrupt)
  try {
    const report = await follow(client, id, json ? null : terminal, interrupted.signal)
    terminal.out(json ? JSON.stringify(report) : summarize(report))
    return exitStatus(report)
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    if (json) terminal.out(JSON.stringify({ id, detached: true }))
    terminal.error(`\ndetached: migration ${id} of ${name} goes on\n`)
    terminal.error(`  to follow: godwit show ${name} --agent ${client.url}\n`)
    terminal.error(`  to cancel: godwit cancel ${name} --agent ${client.url}\n`)
    return 1
  } finally {
    process.off('SIGINT', interrupt)
  }
}
