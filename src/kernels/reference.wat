;; References to pages that the destination's host holds: the seeded hash of a page copy, and the destination's check of it.
;; `npm run kernels` turns this file into reference.bytes.ts; reference.ts is its typed binding.
;;
;; A record of 12 bytes: origin page u32, XXH64 of the content under the session's seed u64. All offsets but page numbers
;; are byte offsets into the control memory. Keeps no state.
(module
  (import "env" "pages" (memory $pages 1 65536 shared))
  (import "env" "control" (memory $control 1 65536 shared))
  ;; The session's seed: who does not know it cannot make two contents of one hash.
  (import "env" "seed" (global $seed i64))

  ;; (hash ^ rotl(accumulator * P2, 31) * P1) * P1 + P4.
  (func $fold (param $hash i64) (param $accumulator i64) (result i64)
    (i64.add
      (i64.mul
        (i64.xor (local.get $hash)
          (i64.mul (i64.rotl (i64.mul (local.get $accumulator) (i64.const 0xC2B2AE3D27D4EB4F)) (i64.const 31))
            (i64.const 0x9E3779B185EBCA87)))
        (i64.const 0x9E3779B185EBCA87))
      (i64.const 0x85EBCA77C2B2AE63)))

  ;; XXH64 of the 4,096 bytes at $at under the session's seed. The rounds are written out: V8 does not inline calls here.
  (func $hash (export "hash") (param $at i32) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $hash i64) (local $left i32)
    (local.set $a (i64.add (global.get $seed) (i64.const 0x60EA27EEADC0B5D6))) ;; P1 + P2
    (local.set $b (i64.add (global.get $seed) (i64.const 0xC2B2AE3D27D4EB4F))) ;; P2
    (local.set $c (global.get $seed))
    (local.set $d (i64.sub (global.get $seed) (i64.const 0x9E3779B185EBCA87))) ;; P1
    (local.set $left (i32.const 128))
    (loop $next
      (local.set $a (i64.mul (i64.rotl (i64.add (local.get $a) (i64.mul (i64.load $control (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $b (i64.mul (i64.rotl (i64.add (local.get $b) (i64.mul (i64.load $control offset=8 (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $c (i64.mul (i64.rotl (i64.add (local.get $c) (i64.mul (i64.load $control offset=16 (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $d (i64.mul (i64.rotl (i64.add (local.get $d) (i64.mul (i64.load $control offset=24 (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $at (i32.add (local.get $at) (i32.const 32)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.set $hash
      (i64.add
        (i64.add (i64.rotl (local.get $a) (i64.const 1)) (i64.rotl (local.get $b) (i64.const 7)))
        (i64.add (i64.rotl (local.get $c) (i64.const 12)) (i64.rotl (local.get $d) (i64.const 18)))))
    (local.set $hash (call $fold (local.get $hash) (local.get $a)))
    (local.set $hash (call $fold (local.get $hash) (local.get $b)))
    (local.set $hash (call $fold (local.get $hash) (local.get $c)))
    (local.set $hash (call $fold (local.get $hash) (local.get $d)))
    (local.set $hash (i64.add (local.get $hash) (i64.const 4096)))
    (local.set $hash (i64.mul
      (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 33))) (i64.const 0xC2B2AE3D27D4EB4F)))
    (local.set $hash (i64.mul
      (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 29))) (i64.const 0x165667B19E3779F9)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32))))

  ;; Writes the record of the copy at $from, a page whose content is to be found at page $origin.
  (func (export "refer") (param $from i32) (param $origin i32) (param $to i32)
    (i32.store $control (local.get $to) (local.get $origin))
    (i64.store $control offset=4 (local.get $to) (call $hash (local.get $from))))

  ;; Obeys the record at $at, whose origin lies in the guest: origin -> scratch, hash, scratch -> page. R13: the hash is
  ;; taken from the copy that is placed. Returns 0, and leaves the page alone, when the content is another.
  (func (export "place") (param $at i32) (param $page i32) (param $scratch i32) (result i32)
    (memory.copy $control $pages (local.get $scratch)
      (i32.shl (i32.load $control (local.get $at)) (i32.const 12)) (i32.const 4096))
    (call $placeCopy (local.get $at) (local.get $page) (local.get $scratch)))

  ;; The same for a copy of the origin that is there already, at $copy of the control memory.
  (func $placeCopy (export "placeCopy") (param $at i32) (param $page i32) (param $copy i32) (result i32)
    (if (i64.ne (call $hash (local.get $copy)) (i64.load $control offset=4 (local.get $at)))
      (then (return (i32.const 0))))
    (memory.copy $pages $control (i32.shl (local.get $page) (i32.const 12)) (local.get $copy) (i32.const 4096))
    (i32.const 1)))
