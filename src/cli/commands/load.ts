// `godwit load`: drives a service that speaks the Redis protocol from outside and says what its clients saw.

import { createInterface, type Interface } from 'node:readline'
import { LOAD_MAX_MS } from '../../limits.ts'
import { startLoad } from '../../load/load.ts'
import type { LoadOptions } from '../../load/options.ts'
import type { LoadProgress } from '../../load/result.ts'
import { formatMs } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { operationsOf, outOfRange, parseShare } from '../load-options.ts'
import { loadProgressText, loadStatus, summarizeLoad } from '../load-summary.ts'
import { parseService } from '../service-address.ts'
import type { Terminal } from '../terminal.ts'

/** Without a terminal to redraw a line on. */
const PLAIN_LINE_MS = 5000

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const options = loadOf(args)
  const json = args.flag('json')
  const progress = json ? null : progressLine(terminal)
  const load = startLoad(options, { window: 'run', ...(progress === null ? {} : { onProgress: progress.show }) })
  let asked = false
  const interrupt = (): void => {
    // Whoever asks twice does not want to wait for replies.
    if (asked) void load.kill()
    else void load.stop().catch(() => {})
    asked = true
  }
  const signals = ['SIGINT', 'SIGTERM'] as const
  for (const signal of signals) process.on(signal, interrupt)
  let lines: Interface | null = null
  try {
    await load.ready
    // Not before: what is written earlier waits in the pipe and is no lost mark.
    lines = args.flag('marks') ? createInterface({ input: process.stdin }) : null
    lines?.on('line', (line) => load.mark(line.trim() || 'mark'))
    const result = await load.done
    progress?.clear()
    terminal.out(json ? JSON.stringify(result) : summarizeLoad(result))
    return loadStatus(result)
  } finally {
    progress?.clear()
    lines?.close()
    for (const signal of signals) process.off(signal, interrupt)
    await load.kill()
  }
}

/** The options of a load from --rate, --connections and the others. Throws `usage`. */
function loadOf(args: Arguments): LoadOptions {
  const durationMs = args.number('duration') ?? 0
  if (durationMs > LOAD_MAX_MS) throw outOfRange('duration', `a time up to ${formatMs(LOAD_MAX_MS)}`)
  return {
    targets: args.positionals.map(parseService),
    ...operationsOf(args),
    durationMs,
    increments: parseShare('increments', args.text('increments') ?? ''),
    connections: args.number('connections'),
    distribution: args.text('distribution') as LoadOptions['distribution'],
    arrivals: args.text('arrivals') as LoadOptions['arrivals'],
    seed: args.number('seed'),
    ...(args.text('prefix') === undefined ? {} : { prefix: parsePrefix(args.text('prefix') as string) }),
    keep: args.flag('keep'),
    spin: args.flag('spin'),
  }
}

function progressLine(terminal: Terminal): { show: (progress: LoadProgress) => void; clear: () => void } {
  let drawn = false
  let lastMs = Number.NEGATIVE_INFINITY
  const clear = (): void => {
    if (drawn) terminal.error('\r\x1b[K')
    drawn = false
  }
  const show = (progress: LoadProgress): void => {
    const text = loadProgressText(progress)
    if (terminal.interactive) {
      terminal.error(`\r\x1b[K  ${text.slice(0, Math.max(20, terminal.columns - 3))}`)
      drawn = true
    } else if (progress.elapsedMs - lastMs >= PLAIN_LINE_MS) {
      terminal.error(`  ${text}\n`)
      lastMs = progress.elapsedMs
    }
  }
  return { show, clear }
}

function parsePrefix(text: string): string {
  if (/^[\x21-\x7e]{1,64}$/.test(text)) return text
  throw outOfRange('prefix', '1 to 64 characters without spaces')
}
