// What `--encode` takes: `adaptive` chooses as it runs, `fallback` tries WKdm and then LZ4, all others force one encoding
// (and zero pages as runs without payload, but for `raw`).

export const ENCODE_MODES = [
  'adaptive',
  'raw',
  'zero',
  'fill',
  'sparse',
  'pattern',
  'packed',
  'lz4',
  'delta',
  'dedup',
  'fallback',
] as const
export type EncodeMode = (typeof ENCODE_MODES)[number]
