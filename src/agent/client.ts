// A client of an agent's HTTP API: the command line, the demo and agents among themselves use it. Plain node:http, so
// that it costs an agent nothing.

import { type IncomingMessage, request } from 'node:http'
import { isIPv6 } from 'node:net'
import { GodwitError } from '../errors.ts'
import { API_PORT } from '../limits.ts'
import type { AgentEvent } from './event-hub.ts'

/** Longest answer taken: a hundred reports of many rounds. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

export interface AgentAddress {
  readonly host: string
  readonly port: number
}

/** Understands `HOST`, `HOST:PORT`, `[v6]:PORT` and `http://HOST:PORT`. Throws `usage`. */
export function parseAddress(text: string, defaultPort: number = API_PORT): AgentAddress {
  const hint = 'write HOST, HOST:PORT or http://HOST:PORT, such as 192.168.1.20:7400'
  const bad = (): GodwitError => new GodwitError('usage', `'${text}' is not the address of an agent`, { hint })
  if (/^https:/i.test(text)) {
    throw new GodwitError('usage', 'agents speak http, not https, for now', { hint })
  }
  const bare = text.replace(/^http:\/\//i, '').replace(/\/+$/, '')
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+))(?::(\d{1,5}))?$/.exec(bare)
  if (match === null) {
    if (isIPv6(bare)) return { host: bare, port: defaultPort }
    throw bad()
  }
  const port = match[3] === undefined ? defaultPort : Number(match[3])
  if (port < 1 || port > 65_535) throw bad()
  return { host: match[1] ?? match[2] ?? '', port }
}

/** The address as it is written in a URL. */
export const addressText = ({ host, port }: AgentAddress): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** Something answers there, in words that are not ours. */
export function noAgentAt(address: AgentAddress): GodwitError {
  return new GodwitError('unreachable', `what answers at http://${addressText(address)} is no Godwit agent`, {
    hint: 'check host and port; an agent listens at 7400 unless told otherwise',
  })
}

export class AgentClient {
  readonly address: AgentAddress

  constructor(address: AgentAddress) {
    this.address = address
  }

  /** Sends one request; returns the JSON answer. Throws the agent's error, or `unreachable`. */
  async call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const response = await this.#send(method, path, body, signal)
    let text = ''
    response.setEncoding('utf8')
    try {
      for await (const piece of response) {
        text += piece
        if (text.length > MAX_ANSWER_BYTES) throw new Error('the answer is too long')
      }
    } catch (cause) {
      throw this.#unreachable(cause)
    }
    let answer: unknown
    try {
      answer = text === '' ? null : JSON.parse(text)
    } catch (cause) {
      throw this.#unreachable(cause)
    }
    if ((response.statusCode ?? 500) >= 400) {
      throw GodwitError.from(
        (answer as { error?: unknown } | null)?.error ?? { message: `HTTP ${response.statusCode}` },
      )
    }
    return answer as T
  }

  /** Events of a server-sent stream, until it ends or the signal fires. Throws `unreachable`. */
  async *events(path: string, signal?: AbortSignal): AsyncGenerator<AgentEvent> {
    const response = await this.#send('GET', path, undefined, signal)
    if ((response.statusCode ?? 500) >= 400) {
      response.destroy()
      throw new GodwitError('unreachable', `no event stream at ${addressText(this.address)}${path}`)
    }
    let rest = ''
    response.setEncoding('utf8')
    try {
      for await (const piece of response) {
        const blocks = `${rest}${piece}`.split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks) {
          const data = block.split('\n').filter((line) => line.startsWith('data:'))
          if (data.length > 0) yield JSON.parse(data.map((line) => line.slice(5)).join('\n')) as AgentEvent
        }
      }
    } catch (cause) {
      if (signal?.aborted) return
      throw this.#unreachable(cause)
    } finally {
      response.destroy()
    }
  }

  #send(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<IncomingMessage> {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    return new Promise((resolve, reject) => {
      const outgoing = request({
        ...this.address,
        method,
        path,
        headers,
        agent: false,
        ...(signal === undefined ? {} : { signal }),
      })
      outgoing.on('response', resolve)
      outgoing.on('error', (cause) => reject(signal?.aborted ? this.#silent(cause) : this.#unreachable(cause)))
      outgoing.end(body === undefined ? undefined : JSON.stringify(body))
    })
  }

  #silent(cause: unknown): GodwitError {
    return new GodwitError('unreachable', `the agent at http://${addressText(this.address)} does not answer in time`, {
      hint: 'is it godwit agent that listens there?',
      cause,
    })
  }

  #unreachable(cause: unknown): GodwitError {
    if ((cause as { code?: unknown } | null)?.code === 'ENOTFOUND') {
      return new GodwitError('unreachable', `there is no host named ${this.address.host}`, { cause })
    }
    return new GodwitError('unreachable', `no agent answers at http://${addressText(this.address)}`, {
      hint: 'start one there with: godwit agent',
      cause,
    })
  }
}
