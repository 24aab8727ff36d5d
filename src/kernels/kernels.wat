;; The SIMD kernels: every pass over guest pages that must run at memory speed, in place on the two shared memories.
;; `npm run kernels` turns this file into kernels.bytes.ts; kernels.ts is its typed binding, twin.ts says the same in TypeScript.
;;
;; Conventions. Page numbers become addresses by `shl 12`, so the last page of a 4 GiB guest is reached and an end address
;; of 2^32 never appears: loops over a page end when the low 12 bits of the address are zero again, loops over pages
;; count down. Every other offset is a byte offset into the control memory. Nothing here keeps state or data of its own:
;; a data segment would have to be written into one of the memories.
(module
  (import "env" "pages" (memory $pages 1 65536 shared))
  (import "env" "control" (memory $control 1 65536 shared))
  ;; Where the free map lies in the control memory, one byte a page (R17).
  (import "env" "free" (global $free i32))

  ;; 1 if the page at $at is all zero. Leaves at the first 64 bytes that are not.
  (func $isZero (param $at i32) (result i32)
    (loop $next
      (if (v128.any_true
            (v128.or
              (v128.or (v128.load $pages (local.get $at)) (v128.load $pages offset=16 (local.get $at)))
              (v128.or (v128.load $pages offset=32 (local.get $at)) (v128.load $pages offset=48 (local.get $at)))))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $next (i32.and (local.get $at) (i32.const 4095))))
    (i32.const 1))

  ;; One lane of XXH64: rotl(accumulator + lane * P2, 31) * P1.
  (func $round (param $accumulator i64) (param $lane i64) (result i64)
    (i64.mul
      (i64.rotl
        (i64.add (local.get $accumulator) (i64.mul (local.get $lane) (i64.const 0xC2B2AE3D27D4EB4F)))
        (i64.const 31))
      (i64.const 0x9E3779B185EBCA87)))

  ;; Folds one accumulator into the hash: (hash ^ round(0, accumulator)) * P1 + P4.
  (func $fold (param $hash i64) (param $accumulator i64) (result i64)
    (i64.add
      (i64.mul
        (i64.xor (local.get $hash) (call $round (i64.const 0) (local.get $accumulator)))
        (i64.const 0x9E3779B185EBCA87))
      (i64.const 0x85EBCA77C2B2AE63)))

  ;; XXH64 with seed 0 of the page at $at. The rounds are written out: V8 does not inline calls in this loop.
  (func $xxh64 (param $at i32) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $hash i64)
    (local.set $a (i64.const 0x60EA27EEADC0B5D6)) ;; P1 + P2
    (local.set $b (i64.const 0xC2B2AE3D27D4EB4F)) ;; P2
    (local.set $c (i64.const 0))
    (local.set $d (i64.const 0x61C8864E7A143579)) ;; -P1
    (loop $next
      (local.set $a (i64.mul (i64.rotl (i64.add (local.get $a) (i64.mul (i64.load $pages (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $b (i64.mul (i64.rotl (i64.add (local.get $b) (i64.mul (i64.load $pages offset=8 (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $c (i64.mul (i64.rotl (i64.add (local.get $c) (i64.mul (i64.load $pages offset=16 (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $d (i64.mul (i64.rotl (i64.add (local.get $d) (i64.mul (i64.load $pages offset=24 (local.get $at))
        (i64.const 0xC2B2AE3D27D4EB4F))) (i64.const 31)) (i64.const 0x9E3779B185EBCA87)))
      (local.set $at (i32.add (local.get $at) (i32.const 32)))
      (br_if $next (i32.and (local.get $at) (i32.const 4095))))
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

  ;; 1 if a page counts as zero: it is, or it is free, whatever its bytes are (R17).
  (func $countsAsZero (param $page i32) (result i32)
    (if (i32.load8_u $control (i32.add (global.get $free) (local.get $page))) (then (return (i32.const 1))))
    (call $isZero (i32.shl (local.get $page) (i32.const 12))))

  ;; What the hash table holds for a page: 0 for one that counts as zero, else its XXH64.
  (func $pageHash (param $page i32) (result i64)
    (if (result i64) (call $countsAsZero (local.get $page))
      (then (i64.const 0))
      (else (call $xxh64 (i32.shl (local.get $page) (i32.const 12))))))

  ;; mix64(hash ^ (page + 1) * golden ratio): also the seal that travels with a page after the switch (R10).
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

  ;; A page's term of the digest: 0 for hash 0, else its mix.
  (func $term (param $hash i64) (param $page i32) (result i64)
    (if (i64.eqz (local.get $hash)) (then (return (i64.const 0))))
    (call $mix (local.get $hash) (local.get $page)))

  ;; Puts a page's new hash into the table and returns how much the digest changes by it.
  (func $replace (param $page i32) (param $hash i64) (param $hashes i32) (result i64)
    (local $slot i32) (local $old i64)
    (local.set $slot (i32.add (local.get $hashes) (i32.shl (local.get $page) (i32.const 3))))
    (local.set $old (i64.load $control (local.get $slot)))
    (if (i64.eq (local.get $old) (local.get $hash)) (then (return (i64.const 0))))
    (i64.store $control (local.get $slot) (local.get $hash))
    (i64.sub
      (call $term (local.get $hash) (local.get $page))
      (call $term (local.get $old) (local.get $page))))

  (func $addToDigest (param $digest i32) (param $change i64)
    (i64.store $control (local.get $digest)
      (i64.add (i64.load $control (local.get $digest)) (local.get $change))))

  ;; Classes of the listed pages and, with $hash, their hashes and the digest, in one pass. Returns the zero pages.
  (func (export "scan") (param $list i32) (param $count i32) (param $classes i32) (param $hashes i32) (param $digest i32)
    (param $hash i32) (result i32)
    (local $page i32) (local $zero i32) (local $zeroPages i32) (local $change i64)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $page (i32.load $control (local.get $list)))
        (local.set $zero (call $countsAsZero (local.get $page)))
        (i32.store8 $control (local.get $classes) (local.get $zero))
        (local.set $zeroPages (i32.add (local.get $zeroPages) (local.get $zero)))
        (if (local.get $hash)
          (then
            (local.set $change (i64.add (local.get $change)
              (call $replace (local.get $page)
                (if (result i64) (local.get $zero)
                  (then (i64.const 0))
                  (else (call $xxh64 (i32.shl (local.get $page) (i32.const 12)))))
                (local.get $hashes))))))
        (local.set $list (i32.add (local.get $list) (i32.const 4)))
        (local.set $classes (i32.add (local.get $classes) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (if (local.get $hash) (then (call $addToDigest (local.get $digest) (local.get $change))))
    (local.get $zeroPages))

  ;; Hashes a contiguous run into the table and the digest.
  (func (export "hashRun") (param $page i32) (param $count i32) (param $hashes i32) (param $digest i32)
    (local $change i64)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $change (i64.add (local.get $change)
          (call $replace (local.get $page)
            (call $pageHash (local.get $page))
            (local.get $hashes))))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (call $addToDigest (local.get $digest) (local.get $change)))

  ;; Listed pages -> entries of a pull frame's table (page, encoding 1 zero or 2 raw, seal), hashes and digest. Returns
  ;; the zero pages.
  (func (export "seal") (param $list i32) (param $count i32) (param $table i32) (param $hashes i32) (param $digest i32)
    (result i32)
    (local $page i32) (local $hash i64) (local $zeroPages i32) (local $change i64)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $page (i32.load $control (local.get $list)))
        (local.set $hash (call $pageHash (local.get $page)))
        (local.set $zeroPages (i32.add (local.get $zeroPages) (i64.eqz (local.get $hash))))
        (i32.store $control (local.get $table) (local.get $page))
        (i32.store $control offset=4 (local.get $table) (i32.sub (i32.const 2) (i64.eqz (local.get $hash))))
        (i64.store $control offset=8 (local.get $table) (call $mix (local.get $hash) (local.get $page)))
        (local.set $change (i64.add (local.get $change)
          (call $replace (local.get $page) (local.get $hash) (local.get $hashes))))
        (local.set $list (i32.add (local.get $list) (i32.const 4)))
        (local.set $table (i32.add (local.get $table) (i32.const 16)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (call $addToDigest (local.get $digest) (local.get $change))
    (local.get $zeroPages))

  ;; Checks placed pages against the seals of their entries, up to the first that differs, and takes the hashes of the good
  ;; ones. Returns how many are good.
  (func (export "unseal") (param $table i32) (param $count i32) (param $hashes i32) (param $digest i32) (result i32)
    (local $page i32) (local $hash i64) (local $good i32) (local $change i64)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $good) (local.get $count)))
        (local.set $page (i32.load $control (local.get $table)))
        (local.set $hash (call $pageHash (local.get $page)))
        (br_if $done (i64.ne
          (i64.load $control offset=8 (local.get $table))
          (call $mix (local.get $hash) (local.get $page))))
        (local.set $change (i64.add (local.get $change)
          (call $replace (local.get $page) (local.get $hash) (local.get $hashes))))
        (local.set $table (i32.add (local.get $table) (i32.const 16)))
        (local.set $good (i32.add (local.get $good) (i32.const 1)))
        (br $next)))
    (call $addToDigest (local.get $digest) (local.get $change))
    (local.get $good))

  ;; Takes the pages of a bitmap out of hash table and digest. $end: words of 32 pages.
  (func (export "forget") (param $bitmap i32) (param $words i32) (param $hashes i32) (param $digest i32)
    (local $bits i32) (local $word i32) (local $change i64)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $word) (local.get $words)))
        (local.set $bits (i32.load $control (i32.add (local.get $bitmap) (i32.shl (local.get $word) (i32.const 2)))))
        (block $clear
          (loop $bit
            (br_if $clear (i32.eqz (local.get $bits)))
            (local.set $change (i64.add (local.get $change)
              (call $replace
                (i32.add (i32.shl (local.get $word) (i32.const 5)) (i32.ctz (local.get $bits)))
                (i64.const 0)
                (local.get $hashes))))
            (local.set $bits (i32.and (local.get $bits) (i32.sub (local.get $bits) (i32.const 1))))
            (br $bit)))
        (local.set $word (i32.add (local.get $word) (i32.const 1)))
        (br $next)))
    (call $addToDigest (local.get $digest) (local.get $change)))

  ;; Presence state 5 (present) where the bitmap has the page; $words as above. See presence.ts.
  (func (export "publish") (param $bitmap i32) (param $words i32) (param $presence i32)
    (local $bits i32) (local $at i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $words)))
        (local.set $bits (i32.load $control (local.get $bitmap)))
        (block $clear
          (loop $bit
            (br_if $clear (i32.eqz (local.get $bits)))
            (local.set $at (i32.add (local.get $presence) (i32.ctz (local.get $bits))))
            (i32.store8 $control (local.get $at) (i32.const 5))
            (local.set $bits (i32.and (local.get $bits) (i32.sub (local.get $bits) (i32.const 1))))
            (br $bit)))
        (i32.store $control (local.get $bitmap) (i32.const 0))
        (local.set $bitmap (i32.add (local.get $bitmap) (i32.const 4)))
        (local.set $presence (i32.add (local.get $presence) (i32.const 32)))
        (local.set $words (i32.sub (local.get $words) (i32.const 1)))
        (br $next))))

  ;; Bitmap of the bytes that equal $value; $count is a multiple of 16. Returns how many there are.
  (func (export "findBytes") (param $bytes i32) (param $count i32) (param $value i32) (param $bitmap i32) (result i32)
    (local $bits i32) (local $found i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $bits
          (i8x16.bitmask (i8x16.eq (v128.load $control (local.get $bytes)) (i8x16.splat (local.get $value)))))
        (i32.store16 $control (local.get $bitmap) (local.get $bits))
        (local.set $found (i32.add (local.get $found) (i32.popcnt (local.get $bits))))
        (local.set $bytes (i32.add (local.get $bytes) (i32.const 16)))
        (local.set $bitmap (i32.add (local.get $bitmap) (i32.const 2)))
        (local.set $count (i32.sub (local.get $count) (i32.const 16)))
        (br $next)))
    (local.get $found))

  ;; Makes pages zero. A page that is zero already is only read, so memory that was never touched stays untouched.
  (func (export "zeroRun") (param $page i32) (param $count i32)
    (local $at i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $at (i32.shl (local.get $page) (i32.const 12)))
        (if (i32.eqz (call $isZero (local.get $at)))
          (then (memory.fill $pages (local.get $at) (i32.const 0) (i32.const 4096))))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; Listed pages -> staging, one after the other.
  (func (export "gather") (param $list i32) (param $count i32) (param $staging i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (memory.copy $control $pages
          (local.get $staging)
          (i32.shl (i32.load $control (local.get $list)) (i32.const 12))
          (i32.const 4096))
        (local.set $list (i32.add (local.get $list) (i32.const 4)))
        (local.set $staging (i32.add (local.get $staging) (i32.const 4096)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; Staging -> listed pages.
  (func (export "scatter") (param $list i32) (param $count i32) (param $staging i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (memory.copy $pages $control
          (i32.shl (i32.load $control (local.get $list)) (i32.const 12))
          (local.get $staging)
          (i32.const 4096))
        (local.set $list (i32.add (local.get $list) (i32.const 4)))
        (local.set $staging (i32.add (local.get $staging) (i32.const 4096)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; A contiguous run -> staging, page by page because the length of 4 GiB does not fit 32 bits.
  (func (export "takeRun") (param $page i32) (param $count i32) (param $staging i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (memory.copy $control $pages
          (local.get $staging)
          (i32.shl (local.get $page) (i32.const 12))
          (i32.const 4096))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $staging (i32.add (local.get $staging) (i32.const 4096)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; Staging -> a contiguous run.
  (func (export "placeRun") (param $page i32) (param $count i32) (param $staging i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (memory.copy $pages $control
          (i32.shl (local.get $page) (i32.const 12))
          (local.get $staging)
          (i32.const 4096))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $staging (i32.add (local.get $staging) (i32.const 4096)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; Index of the first 32-bit word of a bitmap that is not zero, from $word on; $end when there is none.
  (func (export "nextMarked") (param $bitmap i32) (param $word i32) (param $end i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $word) (local.get $end)))
        (br_if $done (i32.load $control (i32.add (local.get $bitmap) (i32.shl (local.get $word) (i32.const 2)))))
        (local.set $word (i32.add (local.get $word) (i32.const 1)))
        (br $next)))
    (local.get $word))

  ;; Cards -> bitmap. $count is a multiple of 16. Clean cards are skipped 64 at a time and not written.
  (func (export "harvest") (param $cards i32) (param $count i32) (param $bitmap i32) (result i32)
    (local $bits i32) (local $marked i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.ge_u (local.get $count) (i32.const 64))
          (then
            (if (i32.eqz (v128.any_true
                  (v128.or
                    (v128.or (v128.load $control (local.get $cards)) (v128.load $control offset=16 (local.get $cards)))
                    (v128.or
                      (v128.load $control offset=32 (local.get $cards))
                      (v128.load $control offset=48 (local.get $cards))))))
              (then
                (local.set $cards (i32.add (local.get $cards) (i32.const 64)))
                (local.set $bitmap (i32.add (local.get $bitmap) (i32.const 8)))
                (local.set $count (i32.sub (local.get $count) (i32.const 64)))
                (br $next)))))
        (local.set $bits
          (i8x16.bitmask (i8x16.ne (v128.load $control (local.get $cards)) (v128.const i64x2 0 0))))
        (if (local.get $bits)
          (then
            ;; In this order: whoever looks at both meanwhile, as an exchange does, finds the page in one of them.
            (i32.store16 $control (local.get $bitmap)
              (i32.or (i32.load16_u $control (local.get $bitmap)) (local.get $bits)))
            (v128.store $control (local.get $cards) (v128.const i64x2 0 0))
            (local.set $marked (i32.add (local.get $marked) (i32.popcnt (local.get $bits))))))
        (local.set $cards (i32.add (local.get $cards) (i32.const 16)))
        (local.set $bitmap (i32.add (local.get $bitmap) (i32.const 2)))
        (local.set $count (i32.sub (local.get $count) (i32.const 16)))
        (br $next)))
    (local.get $marked))

  ;; 1 if the page at $at has the 4,096 bytes at $staging.
  (func $isEqual (param $at i32) (param $staging i32) (result i32)
    (loop $next
      (if (v128.any_true
            (v128.or
              (v128.xor (v128.load $pages (local.get $at)) (v128.load $control (local.get $staging)))
              (v128.xor (v128.load $pages offset=16 (local.get $at)) (v128.load $control offset=16 (local.get $staging)))))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 32)))
      (local.set $staging (i32.add (local.get $staging) (i32.const 32)))
      (br_if $next (i32.and (local.get $at) (i32.const 4095))))
    (i32.const 1))

  ;; Index in the run of the first page that differs from staging, or -1.
  (func (export "compare") (param $page i32) (param $count i32) (param $staging i32) (result i32)
    (local $index i32)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $index) (local.get $count)))
        (if (i32.eqz (call $isEqual
              (i32.shl (i32.add (local.get $page) (local.get $index)) (i32.const 12))
              (local.get $staging)))
          (then (return (local.get $index))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (local.set $staging (i32.add (local.get $staging) (i32.const 4096)))
        (br $next)))
    (i32.const -1))

  ;; First page of the run whose hash is not the table's, or -1. Writes nothing.
  (func (export "audit") (param $page i32) (param $count i32) (param $hashes i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i64.ne
              (call $pageHash (local.get $page))
              (i64.load $control (i32.add (local.get $hashes) (i32.shl (local.get $page) (i32.const 3)))))
          (then (return (local.get $page))))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.const -1))

  ;; Sum of the terms of a run, from the table.
  (func (export "digestOf") (param $hashes i32) (param $page i32) (param $count i32) (result i64)
    (local $sum i64)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $sum (i64.add (local.get $sum)
          (call $term
            (i64.load $control (i32.add (local.get $hashes) (i32.shl (local.get $page) (i32.const 3))))
            (local.get $page))))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (local.get $sum)))
