// The contract of programs, for their authors. A program is one self-contained module:
//
//   export function create(context) {           // on every vCPU, on every host the guest comes to
//     return { step(accessors) { … } }          // one step between two safepoints; false: nothing to do
//   }
//   export function fill(context) { … }         // optional: first content of a range of pages
//
// All state lies in guest pages and in the 256 registers of the vCPU: the object that `create` returns is left behind
// when the guest moves, and a new one goes on from the same memory. So `create` computes constants and touches nothing.
// The same state must lead to the same next state (no clock, no Math.random), and for the replay oracle vCPUs may share
// pages but not words. Pages it does not need a program may declare free (`accessors.free`, `reuse`): they do not travel.

export type { Accessors } from '../guest/accessors.ts'
export type { FillContext, Program, ProgramContext, ProgramModule, ProgramSource } from '../guest/program.ts'
