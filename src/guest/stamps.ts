// Times as process.hrtime.bigint() gives them: Math.min and Math.max take none.

export const earlier = (a: bigint, b: bigint): bigint => (a < b ? a : b)
export const later = (a: bigint, b: bigint): bigint => (a > b ? a : b)
