// Kernels that count where they have been: the .wat sources assembled with a counter at every branch, and put in the place
// of the committed bytes wherever this process compiles them. The fuzzer's view into the decoders; nothing else loads it.
//
// A counter goes to the begin of every function, loop, then and else, and behind every br_if and every `if` without
// else: a branch that is taken and one that is not are two places. Counters are u32 in a memory of their own, imported last
// so that no other memory changes its number; folded text takes a statement between any two expressions.

import { readdirSync, readFileSync } from 'node:fs'
import wabt from 'wabt'

type Node = string | Node[]

const KERNELS = new URL('../../src/kernels/', import.meta.url)
const FEATURES = { multi_memory: true, threads: true, simd: true, bulk_memory: true }
const TOKEN = /\(;[\s\S]*?;\)|;;[^\n]*|"(?:[^"\\]|\\.)*"|[()]|[^\s()";]+/g
/** What may stand between the name of a function or loop and its first instruction. */
const PROLOGUE = new Set(['export', 'import', 'type', 'param', 'result', 'local'])
const COUNTERS = 16_384

/** Places of all instrumented kernels: `module.function` of each counter. */
export const places: string[] = []
export const counters = { memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }) }
/** How often each place was reached since it was last set to 0. */
export const counts = new Uint32Array(counters.memory.buffer, 0, COUNTERS)

function parse(text: string): Node[] {
  const stack: Node[][] = [[]]
  for (const [token] of text.matchAll(TOKEN)) {
    if (token.startsWith(';;') || token.startsWith('(;')) continue
    if (token === '(') stack.push([])
    else if (token === ')') {
      const list = stack.pop() as Node[]
      stack.at(-1)?.push(list)
    } else stack.at(-1)?.push(token)
  }
  return stack[0] as Node[]
}

const print = (node: Node): string => (typeof node === 'string' ? node : `(${node.map(print).join(' ')})\n`)
const headOf = (node: Node | undefined): string => (Array.isArray(node) ? String(node[0]) : '')

function counter(place: string): Node {
  const address = ['i32.const', String(places.push(place) * 4 - 4)]
  return ['i32.store', '$counters', address, ['i32.add', ['i32.load', '$counters', address], ['i32.const', '1']]]
}

/** A function's name, or its export's. */
function nameOf(list: Node[]): string {
  const exported = list.find((node) => headOf(node) === 'export')
  return String(typeof list[1] === 'string' ? list[1] : (exported?.[1] ?? '?')).replace(/[$"]/g, '')
}

function instrumentBody(list: Node[], place: string): Node[] {
  const out: Node[] = []
  const head = list[0]
  let begun = !(head === 'func' || head === 'loop' || head === 'then' || head === 'else')
  list.forEach((node, index) => {
    const prologue = index === 0 || typeof node === 'string' || PROLOGUE.has(headOf(node))
    if (!begun && !prologue) {
      out.push(counter(place))
      begun = true
    }
    out.push(Array.isArray(node) ? instrumentBody(node, place) : node)
    const branch = headOf(node) === 'br_if'
    const half = headOf(node) === 'if' && !(node as Node[]).some((child) => headOf(child) === 'else')
    if (branch || half) out.push(counter(place))
  })
  return out
}

/** The text of a module with counters in all of its functions. */
export function instrument(name: string, text: string): string {
  const module = parse(text)[0] as Node[]
  const last = module.findLastIndex((node) => headOf(node) === 'import')
  const memory: Node = ['import', '"env"', '"counters"', ['memory', '$counters', '1', '1']]
  const marked = module.map((node) =>
    headOf(node) === 'func' ? instrumentBody(node as Node[], `${name}.${nameOf(node as Node[])}`) : node,
  )
  return print([...marked.slice(0, last + 1), memory, ...marked.slice(last + 1)])
}

type Assembler = Awaited<ReturnType<typeof wabt>>

export function assemble(assembler: Assembler, name: string, text: string): Uint8Array {
  const module = assembler.parseWat(name, text, FEATURES)
  const { buffer } = module.toBinary({})
  module.destroy()
  return buffer
}

/** From now on this process compiles every kernel of src/kernels with counters. */
export async function instrumentKernels(): Promise<void> {
  const assembler = await wabt()
  const instead = new Map<string, Uint8Array>()
  for (const file of readdirSync(KERNELS).filter((name) => name.endsWith('.wat'))) {
    const text = readFileSync(new URL(file, KERNELS), 'utf8').replaceAll('\r\n', '\n')
    const key = Buffer.from(assemble(assembler, file, text)).toString('base64')
    instead.set(key, assemble(assembler, file, instrument(file.replace('.wat', ''), text)))
  }
  const { Module, Instance } = WebAssembly
  const CountingModule = class extends Module {
    constructor(bytes: Uint8Array) {
      super(instead.get(Buffer.from(bytes).toString('base64')) ?? bytes)
    }
  }
  const CountingInstance = class extends Instance {
    constructor(module: WebAssembly.Module, imports: Record<string, Record<string, unknown>> = {}) {
      super(module, { ...imports, env: { ...imports.env, counters: counters.memory } })
    }
  }
  Object.assign(WebAssembly, { Module: CountingModule, Instance: CountingInstance })
}
