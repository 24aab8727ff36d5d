// The store's twin: a Map, with what the tests' commands do to it, and replies as Redis gives them.

const WRONG_TYPE = '-WRONGTYPE Operation against a key holding the wrong kind of value\r\n'
const bulk = (text: string | undefined): string => (text === undefined ? '$-1\r\n' : `$${text.length}\r\n${text}\r\n`)
const integer = (value: number): string => `:${value}\r\n`

interface Held {
  value: string | Map<string, string>
  deadline: number | null
}

export class Model {
  readonly keys = new Map<string, Held>()

  /** The reply to a command; HGETALL and DBSIZE are the test's to compare. */
  run(parts: readonly string[], nowMs: number): string {
    for (const [key, { deadline }] of this.keys) if (deadline !== null && deadline < nowMs) this.keys.delete(key)
    const [name, key = '', second = '', third = ''] = parts
    const held = this.keys.get(key)
    const text = typeof held?.value === 'string' ? held.value : undefined
    const fields = held?.value instanceof Map ? held.value : undefined
    switch (name) {
      case 'GET':
        return fields === undefined ? bulk(text) : WRONG_TYPE
      case 'SET':
        this.keys.set(key, { value: second, deadline: third === 'PX' ? nowMs + Number(parts[4]) : null })
        return '+OK\r\n'
      case 'SETNX':
        if (held === undefined) this.keys.set(key, { value: second, deadline: null })
        return integer(held === undefined ? 1 : 0)
      case 'MSET':
        for (let index = 1; index < parts.length; index += 2) {
          this.keys.set(parts[index] as string, { value: parts[index + 1] as string, deadline: null })
        }
        return '+OK\r\n'
      case 'DEL':
        return integer(parts.slice(1).filter((each) => this.keys.delete(each)).length)
      case 'EXISTS':
        return integer(parts.slice(1).filter((each) => this.keys.has(each)).length)
      case 'APPEND':
        if (fields !== undefined) return WRONG_TYPE
        this.keys.set(key, { value: (text ?? '') + second, deadline: held?.deadline ?? null })
        return integer((text ?? '').length + second.length)
      case 'INCRBY':
        return this.#increment(key, held, Number(second))
      case 'EXPIRE':
        if (held !== undefined) held.deadline = nowMs + 1000 * Number(second)
        if (held?.deadline === nowMs) this.keys.delete(key)
        return integer(held === undefined ? 0 : 1)
      case 'PERSIST': {
        const ended = typeof held?.deadline === 'number'
        if (held !== undefined) held.deadline = null
        return integer(ended ? 1 : 0)
      }
      case 'TTL':
        if (held === undefined) return integer(-2)
        return integer(held.deadline === null ? -1 : Math.floor((held.deadline - nowMs + 500) / 1000))
      case 'HSET': {
        if (text !== undefined) return WRONG_TYPE
        const into = fields ?? new Map<string, string>()
        const before = into.size
        for (let index = 2; index < parts.length; index += 2)
          into.set(parts[index] as string, parts[index + 1] as string)
        if (fields === undefined) this.keys.set(key, { value: into, deadline: null })
        return integer(into.size - before)
      }
      case 'HGET':
        return text === undefined ? bulk(fields?.get(second)) : WRONG_TYPE
      case 'HDEL': {
        if (text !== undefined) return WRONG_TYPE
        const gone = parts.slice(2).filter((each) => fields?.delete(each)).length
        if (fields?.size === 0) this.keys.delete(key)
        return integer(gone)
      }
      case 'TYPE':
        return held === undefined ? '+none\r\n' : text === undefined ? '+hash\r\n' : '+string\r\n'
      default:
        throw new Error(`the model knows no ${name}`)
    }
  }

  #increment(key: string, held: Held | undefined, by: number): string {
    if (held !== undefined && typeof held.value !== 'string') return WRONG_TYPE
    const value = held?.value ?? '0'
    if (!/^(0|-?[1-9]\d{0,14})$/.test(value as string)) return '-ERR value is not an integer or out of range\r\n'
    const sum = Number(value) + by
    this.keys.set(key, { value: String(sum), deadline: held?.deadline ?? null })
    return integer(sum)
  }
}

/** The lines of a reply to HGETALL as pairs. */
export function pairsOf(reply: string): Map<string, string> {
  const found: string[] = []
  let at = reply.indexOf('\r\n') + 2
  while (at < reply.length) {
    const end = reply.indexOf('\r\n', at)
    const length = Number(reply.slice(at + 1, end))
    found.push(reply.slice(end + 2, end + 2 + length))
    at = end + 4 + length
  }
  return new Map(found.flatMap((field, index) => (index % 2 === 0 ? [[field, found[index + 1] as string]] : [])))
}
