// What is given to a Redis server and to a service port to see that both answer alike (test/gateway/redis-same.test.ts).

/** One a line, one behind the other on one connection; what has spaces or escapes is in quotes, as JSON. */
export const COMMANDS = String.raw`
  PING
  PING hi
  PING a b
  ECHO
  ECHO a
  ECHO a b
  SET a 1
  GET a
  SET a 1 EX 10 PX 10
  SET a 1 NX XX
  SET a 1 EX 0
  SET a 1 EX -1
  SET a 1 EX 9223372036854775807
  SET a 1 EX 9223372036854775
  SET a 1 EX 9223372036854774
  SET a 1 PX 9223372036854775807
  SET a 1 EX abc
  SET a 1 EX
  SET a 1 NX NX
  TTL a
  SET a 1 KEEPTTL EX 10
  SET a 1 foo
  SET a
  SET a 1 ex 100
  TTL a
  SET a 2
  TTL a
  SET b 1 XX
  SET b 1 NX
  SET b 1 NX
  SET b 2 NX EX 10
  GETSET b 3
  GETSET nob 3
  DEL nob
  SETNX a 1
  SETNX new 1
  SETNX new 1
  DEL new
  HSET h f v
  HSET h f v g w
  HSET h f v g w x
  HSET h f
  HSET h a 1 a 2
  HGET h a
  HGET h none
  HGET none x
  HGETALL none
  HLEN h
  HLEN none
  HDEL h a a none
  HDEL none a
  HDEL h
  GETSET h x
  GET h
  STRLEN h
  APPEND h x
  INCR h
  SETNX h x
  MGET h a none
  TYPE h
  TYPE a
  TYPE none
  HSET a f v
  HGET a f
  HGETALL a
  HDEL a f
  HLEN a
  HMSET h x y
  HMSET h x
  HSET h "" ""
  HGET h ""
  SET h str
  TYPE h
  DEL h
  SET c 9223372036854775807
  INCR c
  INCRBY c 1
  DECR c
  SET c -9223372036854775808
  DECR c
  INCR c
  DECRBY c -9223372036854775808
  DECRBY c 9223372036854775807
  SET c 0
  INCRBY c 9223372036854775808
  INCRBY c -9223372036854775808
  SET c 1
  DECRBY c -9223372036854775808
  INCRBY c " 1"
  INCRBY c +1
  INCRBY c 01
  INCRBY c 1.0
  INCRBY c ""
  INCRBY c -0
  INCRBY c -
  SET c " 1"
  INCR c
  SET c "1 "
  INCR c
  SET c "+1"
  INCR c
  SET c "01"
  INCR c
  SET c "-0"
  INCR c
  SET c ""
  INCR c
  SET c 1e3
  INCR c
  SET c "00000000000000000000000000000000000000000000000000001"
  INCR c
  SET c -1
  INCR c
  GET c
  INCR
  INCR c d
  INCRBY c
  DECRBY c x
  DEL a a b none
  SET a 1
  EXISTS a a a none
  EXISTS
  DEL
  APPEND ap hello
  APPEND ap ""
  APPEND ap " world"
  GET ap
  STRLEN ap
  STRLEN none
  EXPIRE a 100
  TTL a
  PTTL none
  TTL none
  PERSIST a
  PERSIST a
  PERSIST none
  TTL a
  EXPIRE a 10 foo
  EXPIRE a abc
  EXPIRE none 10
  EXPIRE none abc
  EXPIRE a 9223372036854775807
  EXPIRE a -9223372036854775808
  EXPIRE a 9223372036854775
  PEXPIRE a 9223372036854775807
  EXPIRE a
  TTL
  EXPIRE a -1
  GET a
  SET a 1
  EXPIRE a 0
  EXISTS a
  SET a 1
  PEXPIRE a 1
  MSET a 1 b 2 c 3 d 4 e 5
  MGET a b c d e none
  MGET
  MSET a
  MSET a 1 b
  MSET
  MGET a a a
  MSET a 1 a 2
  GET a
  DBSIZE
  DBSIZE x
  FLUSHALL x
  FLUSHALL ASYNC SYNC
  FLUSHALL ASYNC
  FLUSHALL SYNC
  FLUSHDB
  FLUSHDB x
  FLUSHDB ASYNC
  DBSIZE
  SET "" empty
  GET ""
  EXISTS ""
  DEL ""
  SELECT 0
  SELECT 1
  SELECT -1
  SELECT a
  SELECT
  SELECT 0 0
  SELECT 99999999999999999999
  AUTH
  AUTH x
  AUTH x y
  AUTH x y z
  QUITT
  foo
  foo bar baz
  foo "a b" "c\\nd"
  CONFIG GET save
  CONFIG GET appendonly
  CONFIG GET databases
  CONFIG GET nothing
  CONFIG GET
  CONFIG GET s?ve
  CONFIG GET save save
  CONFIG FOO
  CONFIG
  CLIENT
  CLIENT GETNAME
  CLIENT SETNAME foo
  CLIENT GETNAME
  CLIENT SETNAME "a b"
  CLIENT SETNAME ""
  CLIENT GETNAME
  CLIENT FOO
  CLIENT NO-EVICT on
  CLIENT NO-EVICT foo
  CLIENT KILL
  CLIENT KILL 1.2.3.4:5
  CLIENT KILL ID 99999
  CLIENT KILL ID abc
  CLIENT KILL ADDR 1.2.3.4:5
  CLIENT KILL FOO x
  CLIENT KILL ID 1 ADDR
  CLIENT KILL SKIPME foo
  CLIENT ID x
  COMMAND COUNT x
  COMMAND FOO
  COMMAND INFO foo
  COMMAND INFO foo bar
  COMMAND DOCS foo
  HELLO 1
  HELLO x
  HELLO 2 SETNAME
  HELLO 2 FOO
  HELLO 2 AUTH a
  HELLO 2 AUTH a b
  HELLO 2 SETNAME "a b"
  RESET
  RESET x
  READONLY
  READWRITE
  ASKING
  CLUSTER INFO
  CLUSTER
`

/** Bytes that break the protocol, or nearly. */
export const RAW: readonly string[] = [
  '\r\n',
  '\n',
  'PING\n',
  'PING\r\n',
  '  PING  \r\n',
  '*0\r\n',
  '*-1\r\n',
  '*-10\r\n',
  '*\r\n',
  '*a\r\n',
  '*1a\r\n',
  '*9999999999999\r\n',
  '*1\r\n$-1\r\n',
  '*1\r\n$a\r\n',
  '*1\r\n$\r\n',
  '*1\r\nPING\r\n',
  '*1\r\n:1\r\n',
  '*1\r\n*1\r\n$4\r\nPING\r\n',
  '*1\r\n$536870913\r\n',
  '*1\r\n$0\r\n\r\n',
  '*2\r\n$0\r\n\r\n$1\r\na\r\n',
  '"PING\r\n',
  "'PING'\r\n",
  '"PI\\x4eG"\r\n',
  '"PING"x\r\n',
  'SET a "b c"\r\n',
  'GET a\r\n',
  '*+1\r\n$4\r\nPING\r\n',
  '*01\r\n$4\r\nPING\r\n',
  '* 1\r\n$4\r\nPING\r\n',
  '*1\r\n$+4\r\nPING\r\n',
  '*1\r\n$04\r\nPING\r\n',
  '*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n',
  'POST / HTTP/1.1\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'Host: abc\r\n',
  '*1\r\n$10000000000000000000\r\n',
  '-ERR\r\n',
  '+OK\r\n',
  '$4\r\nPING\r\n',
  '*1\r\n$4\r\nPING\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n',
  'PING\r\r\n',
  'PING\tx\r\n',
  '*1\r\n\r\n',
]
