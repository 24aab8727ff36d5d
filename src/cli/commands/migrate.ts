// `godwit migrate`: asks the agent to move one guest or several, follows them and prints the reports.

import { GodwitError } from '../../errors.ts'
import type { MigrationReport } from '../../migration/report.ts'
import { type AgentClient, parseAddress } from '../agent-client.ts'
import type { Arguments } from '../arguments.ts'
import { follow } from '../follow.ts'
import { moveGang } from '../gang.ts'
import { agentOf, guestNamesOf, requireGuests, settingsOf } from '../moving.ts'
import { exitStatus, summarize } from '../summary.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const to = args.text('to')
  if (to === undefined) throw new GodwitError('usage', 'migrate needs --to', { hint: 'write --to HOST or HOST:PORT' })
  const client = agentOf(args)
  const names = guestNamesOf(args)
  const json = args.flag('json')
  const body = { to: parseAddress(to), settings: settingsOf(args) }
  if (names.length > 1) await requireGuests(client, names)
  if (args.flag('check')) {
    const answers = []
    for (const name of names) {
      answers.push(await client.check(name, body))
      if (!json) terminal.out(`${to} would take guest ${name}; nothing was changed`)
    }
    if (json) terminal.out(JSON.stringify(names.length === 1 ? answers[0] : answers))
    return 0
  }

  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  const move = async (name: string, settings: typeof body.settings): Promise<MigrationReport | string> => {
    const id = await client.migrate(name, { ...body, settings })
    try {
      return await follow(client, id, json ? null : terminal, interrupted.signal)
    } catch (error) {
      if (!interrupted.signal.aborted) throw error
      sayDetached(terminal, client, id, name)
      return id
    }
  }
  process.once('SIGINT', interrupt)
  try {
    if (names.length > 1) {
      const ended = (): boolean => interrupted.signal.aborted
      return await moveGang(names, body.settings, { move, ended, terminal, json, to })
    }
    const moved = await move(names[0] as string, body.settings)
    if (typeof moved === 'string') {
      if (json) terminal.out(JSON.stringify({ id: moved, detached: true }))
      return 1
    }
    terminal.out(json ? JSON.stringify(moved) : summarize(moved))
    return exitStatus(moved)
  } finally {
    process.off('SIGINT', interrupt)
  }
}

function sayDetached(terminal: Terminal, { url }: AgentClient, id: string, name: string): void {
  terminal.error(`\ndetached: migration ${id} of ${name} goes on\n`)
  terminal.error(`  to follow: godwit show ${name} --agent ${url}\n`)
  terminal.error(`  to cancel: godwit cancel ${name} --agent ${url}\n`)
}
