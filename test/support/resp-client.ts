// A RESP client for tests: sends what it is told, well formed or not, and takes replies apart.

import { connect, type Socket } from 'node:net'

/** A reply as its text: `+OK`, `-ERR …`, `:1`; a bulk string as itself, null, or an array of these. */
export type Value = string | null | Value[]

/** The replies in the bytes, and where the last whole one ends. Throws when the bytes are no RESP. */
export function repliesIn(bytes: Buffer): { replies: Value[]; end: number } {
  const replies: Value[] = []
  let end = 0
  for (let found = replyAt(bytes, 0); found !== null; found = replyAt(bytes, end)) {
    replies.push(found.value)
    end = found.end
  }
  return { replies, end }
}

function replyAt(bytes: Buffer, at: number): { value: Value; end: number } | null {
  const lineEnd = bytes.indexOf('\r\n', at, 'latin1')
  if (lineEnd < 0) return null
  const sign = String.fromCharCode(bytes[at] as number)
  const line = bytes.toString('latin1', at + 1, lineEnd)
  const end = lineEnd + 2
  if ('+-:'.includes(sign)) return { value: sign + line, end }
  if (!'$*'.includes(sign) || !/^-?\d+$/.test(line))
    throw new Error(`no RESP: ${bytes.toString('latin1', at, at + 64)}`)
  const count = Number(line)
  if (sign === '$') {
    if (count < 0) return { value: null, end }
    if (bytes.length < end + count + 2) return null
    if (bytes.toString('latin1', end + count, end + count + 2) !== '\r\n')
      throw new Error('a bulk string without its end')
    return { value: bytes.toString('latin1', end, end + count), end: end + count + 2 }
  }
  const values: Value[] = []
  let next = end
  for (let index = 0; index < count; index++) {
    const found = replyAt(bytes, next)
    if (found === null) return null
    values.push(found.value)
    next = found.end
  }
  return { value: values, end: next }
}

/** A command as RESP. */
export const encode = (...parts: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${parts.length}\r\n`),
    ...parts.flatMap((part) => {
      const bytes = typeof part === 'string' ? Buffer.from(part, 'latin1') : part
      return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]
    }),
  ])

export class RespClient {
  readonly socket: Socket
  /** All that came, without the replies that were taken. */
  readonly closed: Promise<void>
  #bytes = Buffer.alloc(0)
  readonly #replies: Value[] = []
  #wake: () => void = () => {}
  #isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true
        this.#wake()
        resolve()
      })
    })
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes])
      const { replies, end } = repliesIn(this.#bytes)
      this.#bytes = this.#bytes.subarray(end)
      this.#replies.push(...replies)
      this.#wake()
    })
  }

  static async connect(port: number, host = '127.0.0.1'): Promise<RespClient> {
    const socket = connect({ port, host, noDelay: true })
    const client = new RespClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return client
  }

  send(...parts: readonly (string | Buffer)[]): void {
    this.socket.write(encode(...parts))
  }

  /** The next reply; 'closed' when there is none any more. */
  async next(): Promise<Value> {
    while (this.#replies.length === 0) {
      if (this.#isClosed) return 'closed'
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#replies.shift() as Value
  }

  async command(...parts: readonly (string | Buffer)[]): Promise<Value> {
    this.send(...parts)
    return await this.next()
  }

  close(): void {
    this.socket.destroy()
  }
}
