// What a channel's link is taken to carry: a median, and what writes say whose end nobody heard.

import { describe, expect, it } from 'vitest'
import { Chooser } from '../../src/encoding/chooser.ts'
import { LinkEstimate } from '../../src/encoding/link-estimate.ts'
import { sparse } from '../../src/encoding/sparse.ts'

const MIB = 1024 ** 2

describe('the estimate of a link', () => {
  it('knows nothing before the first write', () => {
    const link = new LinkEstimate()
    expect(link.msPerByte).toBeNull()
    link.note(0, 5)
    expect(link.msPerByte).toBeNull()
    link.note(1000, 2)
    expect(link.msPerByte).toBe(0.002)
  })

  it('does not change for a few writes that took long, but follows a link that became slow', () => {
    const link = new LinkEstimate()
    for (let write = 0; write < 9; write++) link.note(MIB, 1)
    for (let write = 0; write < 4; write++) link.note(MIB, 500)
    expect(link.msPerByte).toBe(1 / MIB)
    link.note(MIB, 500)
    expect(link.msPerByte).toBe(500 / MIB)
  })
})

describe('the chooser', () => {
  /** Pages of one class, which a codec brings to a quarter at 1 GB/s, looked at for nothing. */
  const chooserOf = (): Chooser => {
    const chooser = new Chooser(1, [sparse.id])
    for (let page = 0; page < 200; page++) {
      chooser.note(0, sparse.id, 1024, 0.004)
      chooser.noteClasses(Uint32Array.of(1), 1, 0)
    }
    return chooser
  }

  it('encodes for a link that is waited for, and not for one that takes raw pages as they come', () => {
    const chooser = chooserOf()
    for (let write = 0; write < 9; write++) chooser.noteLink(MIB, 10)
    expect(chooser.decide().on).toBe(true)
    const fast = chooserOf()
    for (let write = 0; write < 9; write++) fast.noteLink(MIB, 0.3, true)
    expect(fast.decide().on).toBe(false)
  })

  it('stops encoding some time after the link never made it wait again', () => {
    const chooser = chooserOf()
    for (let write = 0; write < 9; write++) chooser.noteLink(MIB, 10)
    let batches = 0
    for (; chooser.decide().on && batches < 1000; batches++) chooser.noteLink(MIB / 4, 0.1, true)
    expect(batches).toBeGreaterThan(20)
    expect(batches).toBeLessThan(100)
    // It was slow after all.
    for (let write = 0; write < 5; write++) chooser.noteLink(MIB, 10)
    expect(chooser.decide().on).toBe(true)
  })
})
