// A real agent in a process of its own, which tests may kill and start again on the same directory.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { AgentClient } from '../../src/cli/agent-client.ts'

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname

export class AgentProcess {
  client: AgentClient
  readonly directory: string
  readonly name: string
  readonly #options: readonly string[]
  /** It was told to go. */
  #ending = false
  #child: ChildProcess

  private constructor(
    name: string,
    directory: string,
    child: ChildProcess,
    url: string,
    options: readonly string[] = [],
  ) {
    this.#options = options
    this.name = name
    this.directory = directory
    this.#child = child
    this.#watch()
    this.client = new AgentClient(url)
  }

  /** `options`: more for `godwit agent`. */
  static async start(name: string, ...options: string[]): Promise<AgentProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'godwit-test-'))
    const { child, url } = await launch(name, directory, 0, options)
    return new AgentProcess(name, directory, child, url, options)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  get port(): number {
    return Number(new URL(this.client.url).port)
  }

  /** Ends the agent as a power cut would; its guests are processes of their own and run on. */
  async kill(): Promise<void> {
    this.#ending = true
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  /** Starts it again on the same directory and port. */
  async restart(): Promise<void> {
    const { child, url } = await launch(this.name, this.directory, this.port, this.#options)
    this.#child = child
    this.#watch()
    this.client = new AgentClient(url)
  }

  /** An agent that ends by itself leaves tests that say no more than that nobody answers. */
  #watch(): void {
    this.#ending = false
    const child = this.#child
    child.once('exit', (code, signal) => {
      if (!this.#ending)
        console.error(`agent ${this.name}, process ${child.pid}, has ended: ${signal ?? `code ${code}`}`)
    })
  }

  /** Stops every guest and the agent, and removes the directory. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) await this.restart()
    for (const { name } of await this.client.guests()) await this.client.stopGuest(name, true).catch(() => {})
    for (const { id } of await this.client.copies()) await this.client.stopGuest(id, true).catch(() => {})
    this.#ending = true
    this.#child.kill('SIGTERM')
    if (this.#child.exitCode === null) await once(this.#child, 'exit')
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
}

async function launch(
  name: string,
  directory: string,
  port: number,
  options: readonly string[],
): Promise<{ child: ChildProcess; url: string }> {
  const listen = [
    '--listen',
    `127.0.0.1:${port}`,
    '--data-dir',
    directory,
    '--name',
    name,
    '--data-ports',
    '0-0',
    '--line-ports',
    '0-0',
    '--service-ports',
    '0-0',
    '--json',
    ...options,
  ]
  const child = spawn(process.execPath, [MAIN, 'agent', ...listen], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string]
  child.stdout?.resume()
  return { child, url: (JSON.parse(line) as { url: string }).url }
}
