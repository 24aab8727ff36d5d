;; Runs of pages that change their owner without data: what is done to each page while a vCPU stands still for its crossing.
;; Here and not in TypeScript because the first crossing counts, and cold TypeScript takes ten times as long. `npm run kernels`
;; turns this file into page-runs.bytes.ts; page-runs.ts is its typed binding.
;;
;; Runs are u32s in the control memory, one run behind the other: first page, count, generation and home. They must have been
;; checked against the guest. All offsets are byte offsets into the control memory. Keeps no state.
(module
  (import "env" "control" (memory $control 1 65536 shared))

  ;; As in kernels.wat.
  (func $mix (param $hash i64) (param $page i32) (result i64)
    (local $x i64)
    (local.set $x (i64.xor (local.get $hash)
      (i64.mul
        (i64.add (i64.extend_i32_u (local.get $page)) (i64.const 1))
        (i64.const 0x9E3779B97F4A7C15))))
    (local.set $x (i64.mul
      (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 32))) (i64.const 0xD6E8FEB86659FD93)))
    (local.set $x (i64.mul
      (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 32))) (i64.const 0xD6E8FEB86659FD93)))
    (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 32))))
  (func $term (param $hash i64) (param $page i32) (result i64)
    (if (i64.eqz (local.get $hash)) (then (return (i64.const 0))))
    (call $mix (local.get $hash) (local.get $page)))

  ;; Sum of the digest terms of all pages.
  (func (export "sum") (param $runs i32) (param $count i32) (param $hashes i32) (result i64)
    (local $page i32) (local $end i32) (local $sum i64)
    (block $done
      (loop $run
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $page (i32.load $control (local.get $runs)))
        (local.set $end (i32.add (local.get $page) (i32.load $control offset=4 (local.get $runs))))
        (loop $next
          (local.set $sum (i64.add (local.get $sum)
            (call $term
              (i64.load $control (i32.add (local.get $hashes) (i32.shl (local.get $page) (i32.const 3))))
              (local.get $page))))
          (local.set $page (i32.add (local.get $page) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $page) (local.get $end))))
        (local.set $runs (i32.add (local.get $runs) (i32.const 16)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $run)))
    (local.get $sum))

  ;; The first page whose byte of $presence is above $most, or whose generation is not 1 to $ahead below its run's; or -1.
  (func (export "refused") (param $runs i32) (param $count i32) (param $presence i32) (param $most i32)
    (param $generations i32) (param $ahead i32) (result i32)
    (local $page i32) (local $end i32) (local $generation i32)
    (block $done
      (loop $run
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $page (i32.load $control (local.get $runs)))
        (local.set $end (i32.add (local.get $page) (i32.load $control offset=4 (local.get $runs))))
        (local.set $generation (i32.load $control offset=8 (local.get $runs)))
        (loop $next
          (if (i32.or
                (i32.gt_u (i32.load8_u $control (i32.add (local.get $presence) (local.get $page))) (local.get $most))
                ;; Without a sign: what is below or alike is far above.
                (i32.ge_u
                  (i32.sub
                    (i32.sub
                      (local.get $generation)
                      (i32.load $control (i32.add (local.get $generations) (i32.shl (local.get $page) (i32.const 2)))))
                    (i32.const 1))
                  (local.get $ahead)))
            (then (return (local.get $page))))
          (local.set $page (i32.add (local.get $page) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $page) (local.get $end))))
        (local.set $runs (i32.add (local.get $runs) (i32.const 16)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $run)))
    (i32.const -1))

  ;; Generation, arrival and home of every page; its cards and its bit in $dirty are taken out. A home of 0 says nothing.
  (func (export "arrive") (param $runs i32) (param $count i32) (param $cardsA i32) (param $cardsB i32) (param $dirty i32)
    (param $generations i32) (param $homes i32) (param $arrivals i32) (param $now i32)
    (local $page i32) (local $pages i32) (local $end i32) (local $at i32) (local $bit i32)
    (block $done
      (loop $run
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $page (i32.load $control (local.get $runs)))
        (local.set $pages (i32.load $control offset=4 (local.get $runs)))
        (local.set $end (i32.add (local.get $page) (local.get $pages)))
        (memory.fill $control (i32.add (local.get $cardsA) (local.get $page)) (i32.const 0) (local.get $pages))
        (memory.fill $control (i32.add (local.get $cardsB) (local.get $page)) (i32.const 0) (local.get $pages))
        (if (i32.load $control offset=12 (local.get $runs))
          (then
            (memory.fill $control (i32.add (local.get $homes) (local.get $page))
              (i32.load $control offset=12 (local.get $runs)) (local.get $pages))))
        (loop $next
          (i32.store $control (i32.add (local.get $generations) (i32.shl (local.get $page) (i32.const 2)))
            (i32.load $control offset=8 (local.get $runs)))
          (i32.store16 $control (i32.add (local.get $arrivals) (i32.shl (local.get $page) (i32.const 1))) (local.get $now))
          ;; Atomic, for bits of other pages in the byte are others' business.
          (local.set $at (i32.add (local.get $dirty) (i32.shr_u (local.get $page) (i32.const 3))))
          (local.set $bit (i32.shl (i32.const 1) (i32.and (local.get $page) (i32.const 7))))
          (if (i32.and (i32.load8_u $control (local.get $at)) (local.get $bit))
            (then
              (drop (i32.atomic.rmw8.and_u (local.get $at) (i32.xor (local.get $bit) (i32.const 255))))))
          (local.set $page (i32.add (local.get $page) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $page) (local.get $end))))
        (local.set $runs (i32.add (local.get $runs) (i32.const 16)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $run))))

  ;; The byte of every page in a table becomes $value.
  (func (export "fill") (param $runs i32) (param $count i32) (param $table i32) (param $value i32)
    (block $done
      (loop $run
        (br_if $done (i32.eqz (local.get $count)))
        (memory.fill $control (i32.add (local.get $table) (i32.load $control (local.get $runs))) (local.get $value)
          (i32.load $control offset=4 (local.get $runs)))
        (local.set $runs (i32.add (local.get $runs) (i32.const 16)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $run))))
)
