// Who owns a word: word w of the guest belongs to vCPU w mod vcpus. Pages are shared, words are not, so that a guest's
// memory is a function of the steps of each vCPU, whatever their order.

const PAGE_WORDS = 1024

/** First word of page `page` that belongs to `vcpu`. */
export function firstOwned(page: number, vcpu: number, vcpus: number): number {
  const start = page * PAGE_WORDS
  return start + ((((vcpu - start) % vcpus) + vcpus) % vcpus)
}

/** Words of page `page` that belong to `vcpu`, at least 16 with 64 vCPUs. */
export function ownedCount(page: number, vcpu: number, vcpus: number): number {
  const end = (page + 1) * PAGE_WORDS
  return Math.ceil((end - firstOwned(page, vcpu, vcpus)) / vcpus)
}
