// What a program is: the contract between a guest's vCPU threads and the modules that run in it. Types only; the words
// for authors of programs are in src/programs/program.ts.

import type { Accessors } from './accessors.ts'
import type { GuestConfig } from './config.ts'

/** What a program knows about the vCPU it is created for. */
export interface ProgramContext {
  /** This vCPU, from 0. */
  readonly vcpu: number
  readonly vcpus: number
  readonly memoryBytes: number
  readonly options: GuestConfig['options']
  readonly seed: number
  /** The same 256 words as `accessors.registers`; zero when the guest is created, kept when it moves. */
  readonly registers: Uint32Array
}

export interface Program {
  /**
   * Does one step. False: there was nothing to do, and the vCPU may rest for up to 10 ms (the step counts all the
   * same). A throw ends the guest as crashed, with its message as the cause.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a step without a return statement is the usual one
  step(accessors: Accessors): boolean | void
}

/** What a fresh guest is filled with, one range of pages at a time, on several threads. */
export interface FillContext extends Omit<ProgramContext, 'vcpu' | 'registers'> {
  /** The whole guest; zero until filled. */
  readonly bytes: Uint8Array
  /** The whole guest's free map, one byte a page: set those of the range that begin as free to 1 (R17). */
  readonly free: Uint8Array
  readonly firstPage: number
  readonly pageCount: number
}

/** The exports of a program's module. */
export interface ProgramModule {
  create(context: ProgramContext): Program
  /** Optional: first content of the pages of the range, a function of seed, options and page number alone. */
  fill?(context: FillContext): void
}

/** Where programs are found; `programSource` in src/programs/registry.ts makes one. */
export interface ProgramSource {
  /** URL of the program's module. Throws `program-missing`, `program-invalid`, or `program-differs` by the hash. */
  locate(program: string, programHash: string | null): Promise<string>
}
