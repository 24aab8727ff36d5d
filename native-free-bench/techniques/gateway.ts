// The key-value guest through the gateway: redis-benchmark against the whole chain (front, lines, guest process, vCPU), a
// bare Node server that parses the same RESP and answers from a Map, and a real Redis where one is installed.

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startAgent, stopAgent } from '../agents.ts'
import { godwit, reason } from '../demo.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { ratios } from '../statistics.ts'

/** Of the bare server's operations a second, in the same run. */
const REQUIRED_SHARE = 0.6
const BARE = fileURLToPath(new URL('../bare-resp.ts', import.meta.url))
const GUEST = 'bench-store'
const REDIS_PORT = 17_379

const has = (command: string): boolean => spawnSync(command, ['--version']).status === 0

/** Operations a second of SET and GET, by redis-benchmark with a pipeline of 16. */
async function benchmark(port: number, requests: number): Promise<Record<string, number>> {
  const words = ['-p', `${port}`, '-P', '16', '-t', 'set,get', '-n', `${requests}`, '--csv']
  const { stdout } = await promisify(execFile)('redis-benchmark', words)
  const rateOf = (test: string): number => Number(new RegExp(`"${test}","([0-9.]+)"`).exec(stdout)?.[1] ?? Number.NaN)
  const [set, get] = [rateOf('SET'), rateOf('GET')]
  // Both together, each as often: the time of one of each.
  return { set, get, both: 2 / (1 / set + 1 / get) }
}

/** The first line of what a process says. */
async function firstLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(15_000) })) as [string]
  return line
}

async function started(...words: string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(words[0] as string, words.slice(1), { stdio: ['ignore', 'pipe', 'ignore'] })
  return { child, line: await firstLine(child) }
}

export const gateway: Technique = {
  name: 'gateway',
  about: 'the key-value guest through the gateway, as a share of a bare Node server; needs redis-benchmark',
  async run(context: Context): Promise<Row[]> {
    if (!has('redis-benchmark')) {
      context.log('skipped: redis-benchmark is not installed (Debian: redis-tools)')
      return []
    }
    const requests = context.quick ? 200_000 : 2_000_000
    const agent = await startAgent('bench', 'sources')
    const children: ChildProcess[] = []
    try {
      const start = await godwit([
        'start',
        '--agent',
        agent.url,
        '--program',
        'kv',
        '--name',
        GUEST,
        '--memory',
        '64MiB',
        '--json',
      ])
      if (start.status !== 0) throw new Error(`godwit start: ${reason(start)}`)
      const { servicePort } = JSON.parse(start.stdout) as { servicePort: number }
      const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
      const words = ['gateway', '--guest', GUEST, '--agent', agent.url, '--listen', '127.0.0.1:0', '--json']
      const chain = await started(process.execPath, main, ...words)
      const bare = await started(process.execPath, BARE)
      children.push(chain.child, bare.child)
      const ports: [string, number][] = [
        ['bare Node server', Number(bare.line)],
        ['gateway', (JSON.parse(chain.line) as { port: number }).port],
        ["the agent's service port", servicePort],
      ]
      if (has('redis-server')) {
        const redis = spawn('redis-server', ['--port', `${REDIS_PORT}`, '--save', '', '--appendonly', 'no'], {
          stdio: 'ignore',
        })
        children.push(redis)
        ports.push(['Redis', REDIS_PORT])
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
      const competitors = ports.map(([name, port]): Competitor => ({ name, run: () => benchmark(port, requests) }))
      const samples = await context.repeat(competitors)
      const bareRates = samplesOf(samples, 'bare Node server', 'both')
      return ports.flatMap(([name]): Row[] => {
        const share = ratios(samplesOf(samples, name, 'both'), bareRates)
        const required = name === 'gateway' ? { required: { atLeast: REQUIRED_SHARE } } : {}
        const rate = (test: string): Row => ({
          name: `${name}: ${test.toUpperCase()}`,
          unit: 'op/s',
          higherIsBetter: true,
          samples: samplesOf(samples, name, test),
        })
        const shares: Row[] =
          name === 'bare Node server'
            ? []
            : [
                {
                  name: `${name}: share of the bare server`,
                  unit: '×',
                  higherIsBetter: true,
                  samples: share,
                  ...required,
                },
              ]
        return [...shares, rate('set'), rate('get')]
      })
    } finally {
      for (const child of children) child.kill('SIGKILL')
      await stopAgent(agent)
    }
  },
}
