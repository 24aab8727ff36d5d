;; What a destination that begins with a stale copy of the guest tells of it, and what the source leaves out by that: page
;; hashes under the session's seed. `npm run kernels` turns this file into copy-hashes.bytes.ts; copy-hashes.ts is its typed
;; binding.
;;
;; A table of u64, one a page: 0 for a page of zeros, else the hash, never 0. Page numbers become addresses by `shl 12`; all
;; other offsets are byte offsets into the control memory. Keeps no state.
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

  ;; XXH64 of the page at $at under the session's seed. The rounds are written out: V8 does not inline calls here.
  (func $hash (param $at i32) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $hash i64)
    (local.set $a (i64.add (global.get $seed) (i64.const 0x60EA27EEADC0B5D6))) ;; P1 + P2
    (local.set $b (i64.add (global.get $seed) (i64.const 0xC2B2AE3D27D4EB4F))) ;; P2
    (local.set $c (global.get $seed))
    (local.set $d (i64.sub (global.get $seed) (i64.const 0x9E3779B185EBCA87))) ;; P1
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

  ;; The entry of a page that is not zero: its hash, 1 in place of 0.
  (func $entry (param $page i32) (result i64)
    (local $hash i64)
    (local.set $hash (call $hash (i32.shl (local.get $page) (i32.const 12))))
    (i64.or (local.get $hash) (i64.extend_i32_u (i64.eqz (local.get $hash)))))

  ;; Entries of a contiguous run -> table; its pages are read as they are, free or not.
  (func (export "tell") (param $page i32) (param $count i32) (param $table i32)
    (local $slot i32)
    (local.set $slot (i32.add (local.get $table) (i32.shl (local.get $page) (i32.const 3))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (i64.store $control (local.get $slot)
          (if (result i64) (call $isZero (i32.shl (local.get $page) (i32.const 12)))
            (then (i64.const 0))
            (else (call $entry (local.get $page)))))
        (local.set $slot (i32.add (local.get $slot) (i32.const 8)))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; Takes the pages that are as the table says out of a list and its classes (1: counts as zero). Returns how many stay,
  ;; in their order.
  (func (export "leaveOut") (param $list i32) (param $classes i32) (param $count i32) (param $table i32) (result i32)
    (local $page i32) (local $class i32) (local $left i32) (local $index i32)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $index) (local.get $count)))
        (local.set $page (i32.load $control (i32.add (local.get $list) (i32.shl (local.get $index) (i32.const 2)))))
        (local.set $class (i32.load8_u $control (i32.add (local.get $classes) (local.get $index))))
        (if (i64.ne
              (i64.load $control (i32.add (local.get $table) (i32.shl (local.get $page) (i32.const 3))))
              (if (result i64) (local.get $class)
                (then (i64.const 0))
                (else (call $entry (local.get $page)))))
          (then
            (i32.store $control (i32.add (local.get $list) (i32.shl (local.get $left) (i32.const 2))) (local.get $page))
            (i32.store8 $control (i32.add (local.get $classes) (local.get $left)) (local.get $class))
            (local.set $left (i32.add (local.get $left) (i32.const 1)))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (local.get $left)))
