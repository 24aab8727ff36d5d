// `godwit demo`: two agents, a guest, a migration or many, the oracle, and nothing left behind. The report it prints
// is the agent's, with the oracle's verdict added.

import { setTimeout as sleep } from 'node:timers/promises'
import type { StartRequest } from '../../agent/schemas.ts'
import { GodwitError } from '../../errors.ts'
import type { MigrationReport } from '../../migration/report.ts'
import { formatBytes, formatCount, formatMs, formatRate } from '../../quantities.ts'
import { parseAddress } from '../agent-client.ts'
import type { Arguments } from '../arguments.ts'
import { type Chaos, chaosOf } from '../chaos.ts'
import { ChaosRelay, RELAY_HOST } from '../chaos-relay.ts'
import { DemoAgent } from '../demo-agents.ts'
import { underLoad } from '../demo-load.ts'
import { follow } from '../follow.ts'
import { LinkCutter } from '../link-cutter.ts'
import { operationsOf } from '../load-options.ts'
import { guestOf, settingsOf } from '../moving.ts'
import { consistentOf, exitStatus, summarize, summarizeShortly, withoutOracle } from '../summary.ts'
import type { Terminal } from '../terminal.ts'

const GUEST = 'demo'
/** Ports of two agents that stand behind a relay: more than the most channels of a migration take. */
const DATA_PORTS = 40
const RUN_FIRST_MS = 500
const SETTLE_TIMEOUT_MS = 10_000
const SETTLE_POLL_MS = 20

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  // Checked before anything is started.
  const chaos = chaosOf(args)
  const settings = { ...settingsOf(args), ...(chaos === null ? {} : { advertise: RELAY_HOST }) }
  const guest = demoGuest(args)
  const json = args.flag('json')
  const watched = json ? null : terminal
  const hops = args.number('hops')
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, interrupt)
  const agents: DemoAgent[] = []
  let relay: ChaosRelay | null = null
  try {
    relay = chaos === null ? null : await ChaosRelay.open(DATA_PORTS, chaos.delayMs)
    const dataPorts = relay?.range ?? ([0, 0] as const)
    const started = await Promise.allSettled(['alpha', 'beta'].map((name) => DemoAgent.start(name, dataPorts)))
    for (const one of started) if (one.status === 'fulfilled') agents.push(one.value)
    for (const one of started) if (one.status === 'rejected') throw one.reason
    interrupted.signal.throwIfAborted()
    const [alpha, beta] = agents as [DemoAgent, DemoAgent]
    // The destination asks the source's agent, too, at the address it dials.
    for (const { client } of agents) await relay?.add(parseAddress(client.url).port)
    watched?.error(`${introduction(args, guest, alpha, beta, chaos)}\n`)
    const { servicePort = null } = await alpha.client.startGuest(guest)
    await sleep(RUN_FIRST_MS, undefined, { signal: interrupted.signal })

    const reports: MigrationReport[] = []
    let home = alpha
    const migrate = async (): Promise<void> => {
      for (let i = 0; i < (hops === undefined ? 1 : 2 * hops); i++) {
        const [from, to] = i % 2 === 0 ? [alpha, beta] : [beta, alpha]
        if (i > 0) await settle(from, to, interrupted.signal)
        const id = await from.client.migrate(GUEST, { to: parseAddress(to.client.url), settings })
        const { cuts } = chaos ?? { cuts: 0 }
        const cutter =
          relay === null || cuts === 0 ? null : new LinkCutter(relay, cuts, guest.memoryBytes ?? 0, watched)
        const shown = hops === undefined ? watched : null
        const report = await follow(from.client, id, shown, interrupted.signal, (event) => cutter?.observe(event))
        reports.push(report)
        if (report.outcome === 'completed') cutter?.warnOfMissingCuts(terminal)
        home = report.owner === 'destination' ? to : from
        if (hops !== undefined) watched?.out(`hop ${i + 1}: ${summarizeShortly(report)}`)
        if (report.outcome !== 'completed') break
      }
    }
    const seen = { signal: interrupted.signal, watched }
    if (servicePort === null) await migrate()
    else await underLoad({ port: servicePort, ...operationsOf(args), ...seen }, reports, migrate)
    if (!args.flag('no-oracle') && servicePort === null) await addOracle(reports, home, watched, interrupted.signal)
    return printResult(reports, hops !== undefined, json, terminal)
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    watched?.error('\n')
    throw new GodwitError('cancelled', 'the demo was interrupted; its guest and agents have been ended')
  } finally {
    await Promise.all(agents.map((agent) => agent.close()))
    await relay?.close()
    for (const signal of signals) process.off(signal, interrupt)
  }
}

/** Workload and content are the mutator's; a guest that serves has two vCPUs, so that one can cross while the other runs. */
function demoGuest(args: Arguments): StartRequest {
  const guest = guestOf(args, GUEST)
  if (guest.program === 'mutator') return guest
  const { workload: _, content: __, ...options } = guest.options ?? {}
  return { ...guest, options, vcpus: args.number('vcpus') ?? 2 }
}

/** Says what is about to happen, with the limits that are set so that there is something to watch. */
function introduction(
  args: Arguments,
  { program, vcpus = 1 }: StartRequest,
  alpha: DemoAgent,
  beta: DemoAgent,
  chaos: Chaos | null,
): string {
  const doing =
    program === 'mutator'
      ? `(workload ${args.text('workload')}, content ${args.text('content')})`
      : `(${program}, ${formatCount(operationsOf(args).rate)} requests/s from outside)`
  const bandwidth = args.number('bandwidth')
  const limit = bandwidth === undefined ? 'without a bandwidth limit' : `held to ${formatRate(bandwidth)}`
  return [
    `Two agents run on this machine: alpha (${alpha.client.url}) and beta (${beta.client.url}).`,
    `A guest of ${formatBytes(args.number('memory') ?? 0)} with ${vcpus} vCPU${vcpus === 1 ? '' : 's'} starts at alpha ` +
      `${doing} and moves to beta:`,
    `${args.text('movement')}, ${limit}, downtime target ${formatMs(args.number('downtime-target') ?? 0)}.`,
    ...(chaos === null ? [] : [`A relay stands between the two and ${deedOf(chaos)}.`]),
    ...(bandwidth === undefined ? [] : ['(The limit makes rounds to watch; --bandwidth none lifts it.)']),
    '',
  ].join('\n')
}

const deedOf = ({ cuts, delayMs }: Chaos): string =>
  cuts > 0 ? 'cuts the link during the pull' : `makes every byte take ${formatMs(delayMs)} each way`

/** Waits until the guest is at home at `here` and its process at `before` has gone, before it is sent back. */
async function settle(here: DemoAgent, before: DemoAgent, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + SETTLE_TIMEOUT_MS
  for (;;) {
    signal.throwIfAborted()
    const arrived = (await here.client.guests()).some((guest) => guest.state === 'running')
    const left = (await before.client.guests()).length === 0
    if (arrived && left) return
    if (performance.now() > deadline) {
      const why = arrived ? `its process at ${before.name} stays` : `it does not run at ${here.name}`
      throw new GodwitError('guest-busy', `the guest cannot be sent back: ${why}`)
    }
    await sleep(SETTLE_POLL_MS)
  }
}

/** Replays the guest where it lives now and puts the verdict into the last report. */
async function addOracle(
  reports: MigrationReport[],
  home: DemoAgent,
  watched: Terminal | null,
  signal: AbortSignal,
): Promise<void> {
  const last = reports.at(-1)
  if (last === undefined || last.owner === 'nobody') return
  if (watched?.interactive) watched.error('  replaying the guest in a separate process to compare every byte …')
  try {
    const { equal, differing } = await home.client.oracle(GUEST, signal)
    const checks = { ...last.checks, oracle: equal }
    const named: MigrationReport = { ...last, checks, consistent: consistentOf(checks) }
    if (!equal) {
      const pages = `${differing.slice(0, 8).join(', ')}${differing.length > 8 ? ', …' : ''}`
      const message = `${differing.length} pages differ from the replayed guest: ${pages}`
      named.error = { code: 'oracle-failed', message, side: last.owner }
    }
    reports[reports.length - 1] = named
  } catch (error) {
    signal.throwIfAborted()
    reports[reports.length - 1] = withoutOracle(last, error)
  }
  if (watched?.interactive) watched.error('\r\x1b[K')
}

function printResult(reports: MigrationReport[], many: boolean, json: boolean, terminal: Terminal): number {
  const last = reports.at(-1) as MigrationReport
  const consistent = reports.every((report) => report.outcome === 'completed' && report.consistent !== false)
  if (json) terminal.out(JSON.stringify(many ? { version: 1, hops: reports, consistent } : last))
  else if (!many) terminal.out(summarize(last))
  else terminal.out(`\nThe last hop:\n\n${summarize(last)}`)
  return Math.max(...reports.map(exitStatus))
}
