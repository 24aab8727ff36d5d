// What sparse and delta share: a page is a record of runs, which ends by itself (delta.wat has the format).
//
//   page     ░░░░░░░░ AB ░░░░░░ CDE ░░░░░      ░ left as it is: zeros, or what the page holds
//   record   length │ 8  2 AB │ 6  3 CDE

import type { DeltaKernels } from '../kernels/delta.ts'
import { PAGE_BYTES } from '../limits.ts'
import type { PageEncoding, RunDecoder } from './encoding.ts'
import { badPayload, requireShrunk } from './payload.ts'

/** The length field: all of a record of a page that is left as it is. */
const LEAST_RECORD_BYTES = 2

/** A record that does not shrink its page is never made: such a page goes raw. */
export const recordLimit = (limitBytes: number): number => Math.min(limitBytes, PAGE_BYTES - 1)

/** The rules of a payload of records. */
export function recordRules(name: string): Pick<PageEncoding, 'maxPayloadBytes' | 'checkPayload'> {
  return {
    maxPayloadBytes: (count) => count * (PAGE_BYTES - 1),
    checkPayload: (count, payloadBytes) => requireShrunk(name, count, payloadBytes, LEAST_RECORD_BYTES),
  }
}

/** Places records onto zeros or onto the pages' own bytes. */
export function createRecordDecoder(name: string, kernels: DeltaKernels, onto: 'zeros' | 'pages'): RunDecoder {
  return {
    decodeRun(firstPage, count, from, payloadBytes) {
      const takenBytes = kernels.placeRecords(firstPage, count, from, payloadBytes, onto)
      if (takenBytes === payloadBytes) return
      throw badPayload(
        name,
        takenBytes < 0 ? 'a record is malformed' : `${payloadBytes - takenBytes} bytes are left over`,
      )
    },
  }
}
