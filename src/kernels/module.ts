// Instances of the committed WebAssembly modules over a guest's shared memories.

import type { GuestMemory } from '../guest/memory.ts'

const compiled = new Map<string, WebAssembly.Module>()

/** An instance of a module: compiled once per thread, instantiated per guest in a few microseconds. */
export function instantiate<Exports>(
  moduleBase64: string,
  memory: GuestMemory,
  imports: Record<string, unknown> = {},
): Exports {
  let module = compiled.get(moduleBase64)
  if (module === undefined) {
    module = new WebAssembly.Module(Buffer.from(moduleBase64, 'base64'))
    compiled.set(moduleBase64, module)
  }
  const { pages, control } = memory
  return new WebAssembly.Instance(module, { env: { pages, control, ...imports } }).exports as unknown as Exports
}
