// What each command answers, byte for byte as Redis does, errors included.

import { beforeEach, describe, expect, test } from 'vitest'
import { KV_MAX_KEY_BYTES, KV_MAX_VALUE_BYTES } from '../../../src/limits.ts'
import { COMMANDS } from '../../../src/programs/kv/command-table.ts'
import { NOW, newStore, type Store } from './store.ts'

let store: Store
beforeEach(() => {
  store = newStore(256)
})

/** Commands with their replies, each line one command; words are split at spaces, '' is an empty argument. */
function dialogue(...lines: readonly (readonly [command: string, reply: string])[]): void {
  for (const [command, reply] of lines) {
    const parts = command.split(' ').map((word) => (word === "''" ? '' : word))
    expect([command, store.run(parts)]).toEqual([command, reply])
  }
}

const WRONG_TYPE = '-WRONGTYPE Operation against a key holding the wrong kind of value\r\n'
const NOT_AN_INTEGER = '-ERR value is not an integer or out of range\r\n'
const arity = (name: string): string => `-ERR wrong number of arguments for '${name}' command\r\n`

test('strings', () => {
  dialogue(
    ['GET a', '$-1\r\n'],
    ['SET a 1', '+OK\r\n'],
    ['get a', '$1\r\n1\r\n'],
    ["SET '' ''", '+OK\r\n'],
    ["GET ''", '$0\r\n\r\n'],
    ['SETNX a 2', ':0\r\n'],
    ['SETNX b 2', ':1\r\n'],
    ['GETSET b three', '$1\r\n2\r\n'],
    ['GETSET c x', '$-1\r\n'],
    ['MGET a b none c', '*4\r\n$1\r\n1\r\n$5\r\nthree\r\n$-1\r\n$1\r\nx\r\n'],
    ['MSET a A b B a AA', '+OK\r\n'],
    ['MGET a b', '*2\r\n$2\r\nAA\r\n$1\r\nB\r\n'],
    ['APPEND a xyz', ':5\r\n'],
    ['APPEND new n', ':1\r\n'],
    ['STRLEN a', ':5\r\n'],
    ['STRLEN none', ':0\r\n'],
    ['EXISTS a a none', ':2\r\n'],
    ['TYPE a', '+string\r\n'],
    ['TYPE none', '+none\r\n'],
    ['DBSIZE', ':5\r\n'],
    ['DEL a b a none', ':2\r\n'],
    ['FLUSHALL', '+OK\r\n'],
    ['FLUSHALL ASYNC', '+OK\r\n'],
    ['FLUSHALL now', '-ERR syntax error\r\n'],
    ['DBSIZE', ':0\r\n'],
  )
})

test('options of SET', () => {
  dialogue(
    ['SET a 1 XX', '$-1\r\n'],
    ['SET a 1 nx', '+OK\r\n'],
    ['SET a 2 NX', '$-1\r\n'],
    ['SET a 2 XX EX 10', '+OK\r\n'],
    ['TTL a', ':10\r\n'],
    ['SET a 3 PX 1499', '+OK\r\n'],
    ['TTL a', ':1\r\n'],
    ['SET a 4', '+OK\r\n'],
    ['TTL a', ':-1\r\n'],
    ['SET a 5 NX XX', '-ERR syntax error\r\n'],
    ['SET a 5 EX', '-ERR syntax error\r\n'],
    ['SET a 5 EX 1 PX 1', '-ERR syntax error\r\n'],
    ['SET a 5 KEEPTTL', '-ERR Unsupported option KEEPTTL\r\n'],
    ['SET a 5 XX get', '-ERR Unsupported option GET\r\n'],
    ['SET a 5 EXAT 99', '-ERR Unsupported option EXAT\r\n'],
    ['SET a 5 PXAT', '-ERR syntax error\r\n'],
    ['SET a 5 KEEPTTL EX 1', '-ERR syntax error\r\n'],
    ['SET a 5 EX 1 PXAT 9', '-ERR syntax error\r\n'],
    ['SET a 5 FOREVER 1', '-ERR syntax error\r\n'],
    ["SET a 5 '' 1", '-ERR syntax error\r\n'],
    ['SET a 5 EX ten', NOT_AN_INTEGER],
    ['SET a 5 EX 0', "-ERR invalid expire time in 'set' command\r\n"],
    ['SET a 5 PX -5', "-ERR invalid expire time in 'set' command\r\n"],
    ['SET a 5 EX 9223372036854775807', "-ERR invalid expire time in 'set' command\r\n"],
    ['GET a', '$1\r\n4\r\n'],
  )
})

test('counters', () => {
  dialogue(
    ['INCR n', ':1\r\n'],
    ['INCRBY n 41', ':42\r\n'],
    ['DECR n', ':41\r\n'],
    ['DECRBY n 50', ':-9\r\n'],
    ['GET n', '$2\r\n-9\r\n'],
    ['INCRBY n 9223372036854775807', ':9223372036854775798\r\n'],
    ['INCRBY n 9', ':9223372036854775807\r\n'],
    ['INCR n', '-ERR increment or decrement would overflow\r\n'],
    ['GET n', '$19\r\n9223372036854775807\r\n'],
    ['INCRBY n 9223372036854775808', NOT_AN_INTEGER],
    ['DECRBY n -9223372036854775808', '-ERR decrement would overflow\r\n'],
    ['SET n -9223372036854775808', '+OK\r\n'],
    ['DECR n', '-ERR increment or decrement would overflow\r\n'],
    ['INCRBY n 9223372036854775807', ':-1\r\n'],
    ['INCRBY n one', NOT_AN_INTEGER],
    ['DECRBY m 7', ':-7\r\n'],
  )
  for (const value of ['', '01', '+1', '-0', ' 1', '1 ', '1.0', 'a', '-', '99999999999999999999', '1'.repeat(40)]) {
    store.run(['SET', 'n', value])
    expect(store.run(['INCR', 'n']), value).toBe(NOT_AN_INTEGER)
    expect(store.run(['GET', 'n'])).toBe(`$${value.length}\r\n${value}\r\n`)
  }
})

test('hashes', () => {
  dialogue(
    ['HSET h a 1 b 2 a 3', ':2\r\n'],
    ['HSET h a 4 c 5', ':1\r\n'],
    ['HGET h a', '$1\r\n4\r\n'],
    ['HGET h none', '$-1\r\n'],
    ['HGET none a', '$-1\r\n'],
    ['TYPE h', '+hash\r\n'],
    ['HDEL h a none b', ':2\r\n'],
    ['HGETALL h', '*2\r\n$1\r\nc\r\n$1\r\n5\r\n'],
    ['HGETALL none', '*0\r\n'],
    ['HDEL h c c', ':1\r\n'],
    ['EXISTS h', ':0\r\n'],
    ['HDEL h c', ':0\r\n'],
    ['HSET h a', arity('hset')],
    ['HSET h a 1 b', arity('hset')],
  )
})

test('a key of the wrong type', () => {
  dialogue(['SET s 1', '+OK\r\n'], ['HSET h f 1', ':1\r\n'])
  for (const command of ['GET h', 'GETSET h x', 'APPEND h x', 'STRLEN h', 'INCR h', 'HSET s f 1', 'HGET s f']) {
    dialogue([command, WRONG_TYPE])
  }
  dialogue(
    ['HDEL s f', WRONG_TYPE],
    ['HGETALL s', WRONG_TYPE],
    ['MGET s h', '*2\r\n$1\r\n1\r\n$-1\r\n'],
    ['SETNX h 1', ':0\r\n'],
    ['MSET h x', '+OK\r\n'],
    ['GET h', '$1\r\nx\r\n'],
    ['HSET k f 1', ':1\r\n'],
    ['SET k y', '+OK\r\n'],
    ['GET k', '$1\r\ny\r\n'],
  )
})

test('time: a key is there until its deadline is past, and time never runs backwards', () => {
  dialogue(
    ['EXPIRE a 1', ':0\r\n'],
    ['PERSIST a', ':0\r\n'],
    ['TTL a', ':-2\r\n'],
    ['SET a 1', '+OK\r\n'],
    ['EXPIRE a 100', ':1\r\n'],
    ['EXPIRE a 2', ':1\r\n'],
    ['INCR a', ':2\r\n'],
    ['APPEND a 0', ':2\r\n'],
    ['TTL a', ':2\r\n'],
    ['EXPIRE a x', NOT_AN_INTEGER],
    ['EXPIRE a 9223372036854775807', "-ERR invalid expire time in 'expire' command\r\n"],
    ['EXPIRE a 5 NX', '-ERR Unsupported option NX\r\n'],
  )
  expect(store.run(['GET', 'a'], NOW + 2000)).toBe('$2\r\n20\r\n')
  expect(store.run(['GET', 'a'], NOW + 2001)).toBe('$-1\r\n')
  expect(store.run(['SET', 'a', '1', 'PX', '10'], NOW)).toBe('+OK\r\n')
  expect(store.run(['GET', 'a'], NOW + 2011)).toBe('$1\r\n1\r\n')
  expect(store.run(['PERSIST', 'a'], NOW)).toBe(':1\r\n')
  expect(store.run(['GET', 'a'], NOW + 9000)).toBe('$1\r\n1\r\n')
  expect(store.run(['EXPIRE', 'a', '0'])).toBe(':1\r\n')
  expect(store.run(['EXISTS', 'a'])).toBe(':0\r\n')
})

test('the same in milliseconds, hashes by their other names, and FLUSHDB', () => {
  dialogue(
    ['PTTL a', ':-2\r\n'],
    ['SET a 1', '+OK\r\n'],
    ['PTTL a', ':-1\r\n'],
    ['PEXPIRE a 1500', ':1\r\n'],
    ['PTTL a', ':1500\r\n'],
    ['TTL a', ':2\r\n'],
    ['PEXPIRE a x', NOT_AN_INTEGER],
    ['PEXPIRE a 9223372036854775807', "-ERR invalid expire time in 'pexpire' command\r\n"],
    ['PEXPIRE a 0', ':1\r\n'],
    ['EXISTS a', ':0\r\n'],
    ['HLEN h', ':0\r\n'],
    ['HMSET h f 1 g 2', '+OK\r\n'],
    ['HMSET h f 3', '+OK\r\n'],
    ['HLEN h', ':2\r\n'],
    ['HGET h f', '$1\r\n3\r\n'],
    ['HMSET h f', "-ERR wrong number of arguments for 'hmset' command\r\n"],
    ['SET s 1', '+OK\r\n'],
    ['HLEN s', WRONG_TYPE],
    ['FLUSHDB', '+OK\r\n'],
    ['DBSIZE', ':0\r\n'],
  )
})

test('keys whose time is over leave without being asked for, a few with each command', () => {
  for (let key = 0; key < 100; key++) store.run(['SET', `k${key}`, '1', 'PX', String(key + 1)])
  expect(store.run(['DBSIZE'], NOW + 11)).toBe(':90\r\n')
  expect(store.run(['DBSIZE'], NOW + 500)).toBe(':74\r\n')
  for (let times = 0; times < 5; times++) store.run(['PING'], NOW + 500)
  expect(store.run(['DBSIZE'], NOW + 500)).toBe(':0\r\n')
  expect(store.run(['INFO', 'stats'], NOW + 500)).toContain('expired_keys:100\r\n')
})

describe('what is no command', () => {
  test.each([
    [['FOO'], "-ERR unknown command 'FOO', with args beginning with: \r\n"],
    [['foo', 'a', 'b\r\n'], "-ERR unknown command 'foo', with args beginning with: 'a' 'b  ' \r\n"],
    [['ge', 'a'], "-ERR unknown command 'ge', with args beginning with: 'a' \r\n"],
    [['\x07et', 'a'], "-ERR unknown command '\x07et', with args beginning with: 'a' \r\n"],
    [[''], "-ERR unknown command '', with args beginning with: \r\n"],
    [['x', 'y'.repeat(200), 'z'], `-ERR unknown command 'x', with args beginning with: '${'y'.repeat(128)}' \r\n`],
    [['SUBSCRIBE', 'c'], "-ERR unknown command 'SUBSCRIBE', with args beginning with: 'c' \r\n"],
  ])('%j', (parts, reply) => {
    expect(store.run(parts)).toBe(reply)
  })

  test('every command refuses too few arguments, and those with a number of them too many', () => {
    for (const { name, arity: wanted } of COMMANDS) {
      const most = Math.abs(wanted) - 1
      if (most > 0) expect(store.run([name, ...Array(most - 1).fill('a')])).toBe(arity(name))
      if (wanted > 0) expect(store.run([name, ...Array(wanted).fill('a')])).toBe(arity(name))
    }
    expect(store.run(['MSET', 'a', '1', 'b'])).toBe(arity('mset'))
    expect(store.run(['PING', 'a', 'b'])).toBe(arity('ping'))
  })

  test('too long', () => {
    const [fits, long] = [new Uint8Array(KV_MAX_KEY_BYTES), new Uint8Array(KV_MAX_KEY_BYTES + 1)]
    const refused = `-ERR key or field is longer than ${KV_MAX_KEY_BYTES} bytes\r\n`
    expect(store.run(['SET', fits, 'a'])).toBe('+OK\r\n')
    expect(store.run(['GET', fits])).toBe('$1\r\na\r\n')
    expect(store.run(['HSET', 'h', fits, 'a'])).toBe(':1\r\n')
    for (const parts of [
      ['SET', long, 'a'],
      ['MSET', 'a', 'a', long, 'a'],
      ['DEL', 'a', long],
      ['HSET', 'h', 'a', 'a', long, 'a'],
    ]) {
      expect(store.run(parts)).toBe(refused)
    }
    expect(store.run(['HGET', 'h', long])).toBe('$-1\r\n')
    const large = newStore(8192)
    large.run(['SET', 'a', new Uint8Array(KV_MAX_VALUE_BYTES - 1)])
    expect(large.run(['APPEND', 'a', 'x'])).toBe(`:${KV_MAX_VALUE_BYTES}\r\n`)
    expect(large.run(['APPEND', 'a', 'x'])).toBe('-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n')
  })
})

test('what clients ask a server', () => {
  dialogue(
    ['PING', '+PONG\r\n'],
    ['PING hi', '$2\r\nhi\r\n'],
    ['ECHO hi', '$2\r\nhi\r\n'],
    ['SELECT 0', '+OK\r\n'],
    ['SELECT 1', '-ERR DB index is out of range\r\n'],
    ['SELECT x', NOT_AN_INTEGER],
    ['HELLO 3', '-NOPROTO unsupported protocol version\r\n'],
    ['HELLO 1', '-NOPROTO unsupported protocol version\r\n'],
    ['HELLO x', '-ERR Protocol version is not an integer or out of range\r\n'],
    ['HELLO 2 AUTH a b', "-ERR Syntax error in HELLO option 'AUTH'\r\n"],
    ['CLIENT SETINFO LIB-NAME x', '+OK\r\n'],
    ['CLIENT SETNAME x', '+OK\r\n'],
    ['CLIENT GETNAME', '$-1\r\n'],
    ['CLIENT KILL', "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"],
    ['CONFIG GET save', '*2\r\n$4\r\nsave\r\n$0\r\n\r\n'],
    ['CONFIG GET app?nd* nothing', '*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n'],
    ['CONFIG GET *x*x*', '*0\r\n'],
    ['CONFIG GET', arity('config|get')],
    ['CONFIG SET save x', "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n"],
    ['COMMAND COUNT', `:${COMMANDS.length}\r\n`],
    ['COMMAND DOCS', '*0\r\n'],
    ['COMMAND INFO get none', '*2\r\n*6\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n$-1\r\n'],
  )
  expect(store.run(['HELLO'])).toBe(store.run(['HELLO', '2']))
  expect(store.run(['HELLO'])).toMatch(/^\*14\r\n\$6\r\nserver\r\n\$5\r\nredis\r\n/)
  expect(store.run(['COMMAND'])).toMatch(new RegExp(`^\\*${COMMANDS.length}\r\n`))
  store.run(['SET', 'a', '1', 'EX', '10'])
  store.run(['GET', 'a'])
  const info = store.run(['INFO'])
  for (const line of ['loading:0', 'keyspace_hits:1', 'keyspace_misses:0', 'db0:keys=1,expires=1']) {
    expect(info).toContain(line)
  }
  expect(store.run(['INFO', 'KEYSPACE', 'nothing'])).toMatch(/^\$\d+\r\n# Keyspace\r\ndb0:/)
})
