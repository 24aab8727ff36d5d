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
  /** Of programs that serve (see src/programs/registry.ts): where requests come from. Others see nothing of it. */
  readonly requests?: RequestPort
}

/** A numbered request as a gateway sent it (R30). */
export interface ServiceRequest {
  /** The gateway's number, from 1. */
  readonly gateway: number
  /** The request's number among those that this gateway sends to this vCPU, from 1. 0: it only acknowledges. */
  readonly sequence: number
  /** The gateway has every reply up to this sequence. */
  readonly acknowledged: number
  /** The time of the request by the gateway's clock, ms since 1970 (R31). */
  readonly nowMs: number
  /** Its bytes are `length` from `from` on, all where nothing is said. */
  readonly bytes: Uint8Array
  readonly from?: number
  readonly length?: number
}

/**
 * `reply`: of the request of that sequence. With all others it was not executed. `busy`: there is no room to keep its reply.
 * `out-of-order`: it is not the next one. `forgotten`: nothing is known of that gateway (any more), and it is not its
 * first. `refused`: there are too many gateways.
 */
export interface ServiceAnswer {
  readonly what: 'reply' | 'busy' | 'out-of-order' | 'forgotten' | 'refused'
  readonly gateway: number
  readonly sequence: number
  /** Its bytes are `length` from `from` on, all where nothing is said. */
  readonly bytes: Uint8Array
  readonly from?: number
  readonly length?: number
}

/** The requests of one vCPU. Nothing here is guest state: it stays behind when the guest moves. */
export interface RequestPort {
  /** The oldest request, the same one until `done`. Null: there is none, and the vCPU is woken when one comes. */
  peek(): ServiceRequest | null
  /** Lets the request go that `peek` gave; its bytes are good until then. */
  done(): void
  /** Whether an answer of so many bytes has room now. */
  fits(bytes: number): boolean
  /** Sends an answer; `fits` has said that there is room. */
  answer(answer: ServiceAnswer): void
  /** The vCPU wants to be woken when there may be room; it looks once more before it rests. */
  awaitRoom(): void
}

export interface Program {
  /**
   * Does one step. False: there was nothing to do, and the vCPU may rest for up to 10 ms (the step counts all the
   * same). A throw ends the guest as crashed, with its message as the cause.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a class whose step returns nothing has void, and an async one must not fit
  step(accessors: Accessors): boolean | void
}

/** What a fresh guest is filled with, one range of pages at a time, on several threads. */
export interface FillContext extends Omit<ProgramContext, 'vcpu' | 'registers' | 'requests'> {
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
