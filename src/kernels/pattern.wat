;; WKdm, the encoding `pattern`, one page at a time between the control memory and a guest page. Conventions as in
;; kernels.wat; pattern.ts is the typed binding.
;;
;; A page is 1,024 words of 32 bits. Each is looked up in a dictionary of 16 words, at the slot that its high 22 bits
;; hash to: (word >> 10) * 0x9E3779B1 >> 28, Fibonacci hashing, so that no table is needed. The dictionary starts as
;; zeros, and every word but zero takes its slot afterwards.
;;
;;   0   misses, hits, partials   three u32, little-endian like all that follows
;;   12  tags      1,024 of 2 bits, the first in the lowest bits: 0 zero, 1 partial, 2 miss, 3 exact
;;   268 misses    the words that were not found
;;       slots     one of 4 bits for each partial or exact, 8 in a u32
;;       lows      the low 10 bits of each partial, 3 in a u32
;;
;; What is left over of a u32 is zero. Work tables of the encoder: 0 dictionary, 80 marks (tag | slot << 2, a byte a word),
;; 1104 missed words, and before them, while words are looked up, places and what was there; 5200 slots, 6240 lows; the end
;; is at 8,296. The decoder's: dictionary, slots and lows.
(module
  ;; The memory that is used most comes first: V8 keeps the base of the first in a register and loads the others'.
  (import "env" "control" (memory $control 1 65536 shared))
  (import "env" "pages" (memory $pages 1 65536 shared))

  ;; Bytes of a page with these counts.
  (func $size (param $misses i32) (param $hits i32) (param $partials i32) (result i32)
    (i32.add
      (i32.add (i32.const 268) (i32.shl (local.get $misses) (i32.const 2)))
      (i32.add
        (i32.shl (i32.shr_u (i32.add (local.get $hits) (i32.const 7)) (i32.const 3)) (i32.const 2))
        (i32.shl (i32.div_u (i32.add (local.get $partials) (i32.const 2)) (i32.const 3)) (i32.const 2)))))

  ;; 8 slots of a byte each -> 32 bits.
  (func $pack8 (param $bytes i64) (result i32)
    (local.set $bytes (i64.and (i64.or (local.get $bytes) (i64.shr_u (local.get $bytes) (i64.const 4)))
      (i64.const 0x00FF00FF00FF00FF)))
    (local.set $bytes (i64.and (i64.or (local.get $bytes) (i64.shr_u (local.get $bytes) (i64.const 8)))
      (i64.const 0x0000FFFF0000FFFF)))
    (i32.wrap_i64 (i64.or (local.get $bytes) (i64.shr_u (local.get $bytes) (i64.const 16)))))

  ;; And back.
  (func $unpack8 (param $word i32) (result i64)
    (local $bytes i64)
    (local.set $bytes (i64.extend_i32_u (local.get $word)))
    (local.set $bytes (i64.and (i64.or (local.get $bytes) (i64.shl (local.get $bytes) (i64.const 16)))
      (i64.const 0x0000FFFF0000FFFF)))
    (local.set $bytes (i64.and (i64.or (local.get $bytes) (i64.shl (local.get $bytes) (i64.const 8)))
      (i64.const 0x00FF00FF00FF00FF)))
    (i64.and (i64.or (local.get $bytes) (i64.shl (local.get $bytes) (i64.const 4))) (i64.const 0x0F0F0F0F0F0F0F0F)))

  ;; The first three of four lows of 16 bits each -> 30 bits.
  (func $pack3 (param $lows i64) (result i32)
    (i32.wrap_i64
      (i64.or
        (i64.and (local.get $lows) (i64.const 0x3FF))
        (i64.or
          (i64.and (i64.shr_u (local.get $lows) (i64.const 6)) (i64.const 0xFFC00))
          (i64.and (i64.shr_u (local.get $lows) (i64.const 12)) (i64.const 0x3FF00000))))))

  ;; And back.
  (func $unpack3 (param $word i32) (result i64)
    (local $lows i64)
    (local.set $lows (i64.extend_i32_u (local.get $word)))
    (i64.or
      (i64.and (local.get $lows) (i64.const 0x3FF))
      (i64.or
        (i64.and (i64.shl (local.get $lows) (i64.const 6)) (i64.const 0x3FF0000))
        (i64.and (i64.shl (local.get $lows) (i64.const 12)) (i64.const 0x3FF00000000)))))

  (func $clearDictionary (param $tables i32)
    (v128.store $control (local.get $tables) (v128.const i64x2 0 0))
    (v128.store $control offset=16 (local.get $tables) (v128.const i64x2 0 0))
    (v128.store $control offset=32 (local.get $tables) (v128.const i64x2 0 0))
    (v128.store $control offset=48 (local.get $tables) (v128.const i64x2 0 0)))

  ;; Where four words look: their slot's offset in the dictionary. The word zero has a 17th slot to itself, so that it needs
  ;; no case of its own and disturbs no other.
  (func $placeOf (param $words v128) (result v128)
    (v128.or
      (v128.and (i32x4.eq (local.get $words) (v128.const i64x2 0 0)) (v128.const i32x4 64 64 64 64))
      (v128.and
        (i32x4.shr_u
          (i32x4.mul
            (i32x4.shr_u (local.get $words) (i32.const 10))
            (v128.const i32x4 0x9E3779B1 0x9E3779B1 0x9E3779B1 0x9E3779B1))
          (i32.const 26))
        (v128.const i32x4 60 60 60 60))))

  ;; Tags of four words and what was in their slots: 2 - near + 2 exact, and 0 for the word zero.
  (func $tag (param $words v128) (param $old v128) (result v128)
    (local.set $old (v128.xor (local.get $words) (local.get $old)))
    (v128.andnot
      (i32x4.sub
        (i32x4.add
          (v128.const i32x4 2 2 2 2)
          (i32x4.eq (i32x4.shr_u (local.get $old) (i32.const 10)) (v128.const i64x2 0 0)))
        (i32x4.shl (i32x4.eq (local.get $old) (v128.const i64x2 0 0)) (i32.const 1)))
      (i32x4.eq (local.get $words) (v128.const i64x2 0 0))))

  ;; 8 tags of a byte each -> 16 bits.
  (func $packTags (param $bytes i64) (result i32)
    (local.set $bytes (i64.and (i64.or (local.get $bytes) (i64.shr_u (local.get $bytes) (i64.const 6)))
      (i64.const 0x000F000F000F000F)))
    (local.set $bytes (i64.or (local.get $bytes) (i64.shr_u (local.get $bytes) (i64.const 12))))
    (i32.or
      (i32.and (i32.wrap_i64 (local.get $bytes)) (i32.const 0xFF))
      (i32.and (i32.wrap_i64 (i64.shr_u (local.get $bytes) (i64.const 24))) (i32.const 0xFF00))))

  ;; Places of the 256 words at $from -> scratch.
  (func $lookPlaces (param $from i32) (param $tables i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $from) (i32.const 1024)))
    (loop $next
      (v128.store $control offset=1104 (local.get $tables) (call $placeOf (v128.load $control (local.get $from))))
      (v128.store $control offset=1120 (local.get $tables)
        (call $placeOf (v128.load $control offset=16 (local.get $from))))
      (local.set $tables (i32.add (local.get $tables) (i32.const 32)))
      (local.set $from (i32.add (local.get $from) (i32.const 32)))
      (br_if $next (i32.ne (local.get $from) (local.get $end)))))

  ;; What each word's slot holds -> scratch, and the word -> the slot. This alone goes word by word. A zero group's slot
  ;; contents do not matter.
  (func $lookUp (param $from i32) (param $tables i32)
    (local $end i32) (local $groupEnd i32) (local $scratch i32) (local $at i32)
    (local.set $end (i32.add (local.get $from) (i32.const 1024)))
    (local.set $scratch (local.get $tables))
    (loop $group
      (local.set $groupEnd (i32.add (local.get $from) (i32.const 64)))
      (if (v128.any_true
            (v128.or
              (v128.or (v128.load $control (local.get $from)) (v128.load $control offset=16 (local.get $from)))
              (v128.or
                (v128.load $control offset=32 (local.get $from))
                (v128.load $control offset=48 (local.get $from)))))
        (then
          (loop $next
            (local.set $at
              (i32.add (local.get $tables) (i32.load $control offset=1104 (local.get $scratch))))
            (i32.store $control offset=2128 (local.get $scratch) (i32.load $control (local.get $at)))
            (i32.store $control (local.get $at) (i32.load $control (local.get $from)))
            (local.set $at
              (i32.add (local.get $tables) (i32.load $control offset=1108 (local.get $scratch))))
            (i32.store $control offset=2132 (local.get $scratch) (i32.load $control (local.get $at)))
            (i32.store $control (local.get $at) (i32.load $control offset=4 (local.get $from)))
            (local.set $at
              (i32.add (local.get $tables) (i32.load $control offset=1112 (local.get $scratch))))
            (i32.store $control offset=2136 (local.get $scratch) (i32.load $control (local.get $at)))
            (i32.store $control (local.get $at) (i32.load $control offset=8 (local.get $from)))
            (local.set $at
              (i32.add (local.get $tables) (i32.load $control offset=1116 (local.get $scratch))))
            (i32.store $control offset=2140 (local.get $scratch) (i32.load $control (local.get $at)))
            (i32.store $control (local.get $at) (i32.load $control offset=12 (local.get $from)))
            (local.set $scratch (i32.add (local.get $scratch) (i32.const 16)))
            (local.set $from (i32.add (local.get $from) (i32.const 16)))
            (br_if $next (i32.ne (local.get $from) (local.get $groupEnd)))))
        (else
          (local.set $scratch (i32.add (local.get $scratch) (i32.const 64)))
          (local.set $from (local.get $groupEnd))))
      (br_if $group (i32.ne (local.get $from) (local.get $end)))))

  ;; Tags -> $tagsAt, 2 bits each, and tag | place -> marks, a byte each. Returns the number of misses.
  (func $lookTags (param $from i32) (param $tagsAt i32) (param $mark i32) (param $scratch i32) (result i32)
    (local $end i32) (local $misses i32) (local $tags v128)
    (local.set $end (i32.add (local.get $from) (i32.const 1024)))
    (loop $next
      (local.set $tags
        (i8x16.narrow_i16x8_u
          (i16x8.narrow_i32x4_u
            (call $tag
              (v128.load $control (local.get $from))
              (v128.load $control offset=2128 (local.get $scratch)))
            (call $tag
              (v128.load $control offset=16 (local.get $from))
              (v128.load $control offset=2144 (local.get $scratch))))
          (i16x8.narrow_i32x4_u
            (call $tag
              (v128.load $control offset=32 (local.get $from))
              (v128.load $control offset=2160 (local.get $scratch)))
            (call $tag
              (v128.load $control offset=48 (local.get $from))
              (v128.load $control offset=2176 (local.get $scratch))))))
      (i32.store $control (local.get $tagsAt)
        (i32.or
          (call $packTags (i64x2.extract_lane 0 (local.get $tags)))
          (i32.shl (call $packTags (i64x2.extract_lane 1 (local.get $tags))) (i32.const 16))))
      (local.set $misses
        (i32.add
          (local.get $misses)
          (i32.popcnt
            (i8x16.bitmask
              (i8x16.eq (local.get $tags) (v128.const i32x4 0x02020202 0x02020202 0x02020202 0x02020202))))))
      (v128.store $control (local.get $mark)
        (v128.or
          (local.get $tags)
          (i8x16.narrow_i16x8_u
            (i16x8.narrow_i32x4_u
              (v128.load $control offset=1104 (local.get $scratch))
              (v128.load $control offset=1120 (local.get $scratch)))
            (i16x8.narrow_i32x4_u
              (v128.load $control offset=1136 (local.get $scratch))
              (v128.load $control offset=1152 (local.get $scratch))))))
      (local.set $from (i32.add (local.get $from) (i32.const 64)))
      (local.set $scratch (i32.add (local.get $scratch) (i32.const 64)))
      (local.set $tagsAt (i32.add (local.get $tagsAt) (i32.const 4)))
      (local.set $mark (i32.add (local.get $mark) (i32.const 16)))
      (br_if $next (i32.ne (local.get $from) (local.get $end))))
    (local.get $misses))

  ;; Looks every word of the copy up, a quarter of the page after the other. Tags -> $tagsAt, 256 bytes; marks -> tables.
  ;; Returns 0 when a quarter ends with more than $most misses, else 1.
  (func $look (param $from i32) (param $tagsAt i32) (param $most i32) (param $tables i32) (result i32)
    (local $mark i32) (local $misses i32) (local $tagsEnd i32)
    (call $clearDictionary (local.get $tables))
    (local.set $mark (i32.add (local.get $tables) (i32.const 80)))
    (local.set $tagsEnd (i32.add (local.get $tagsAt) (i32.const 256)))
    (loop $quarter
      (call $lookPlaces (local.get $from) (local.get $tables))
      (call $lookUp (local.get $from) (local.get $tables))
      (local.set $misses
        (i32.add
          (local.get $misses)
          (call $lookTags (local.get $from) (local.get $tagsAt) (local.get $mark) (local.get $tables))))
      (if (i32.gt_u (local.get $misses) (local.get $most)) (then (return (i32.const 0))))
      (local.set $from (i32.add (local.get $from) (i32.const 1024)))
      (local.set $tagsAt (i32.add (local.get $tagsAt) (i32.const 64)))
      (local.set $mark (i32.add (local.get $mark) (i32.const 256)))
      (br_if $quarter (i32.ne (local.get $tagsAt) (local.get $tagsEnd))))
    (i32.const 1))

  ;; The copy at $from -> $to, at most $limit bytes. Returns the length, or -1. The marks sort the words into three
  ;; tables: each is written to all of them, and its tag decides which move on, because real words are hard to predict
  ;; for a branch.
  (func (export "encode") (param $from i32) (param $to i32) (param $limit i32) (param $tables i32) (result i32)
    (local $word i32) (local $mark i32) (local $tag i32) (local $markAt i32) (local $groupEnd i32)
    (local $tagsAt i32) (local $tagsEnd i32) (local $miss i32) (local $slot i32) (local $low i32)
    (local $misses i32) (local $hits i32) (local $partials i32) (local $total i32)
    (if (i32.lt_s (local.get $limit) (i32.const 268)) (then (return (i32.const -1))))
    (local.set $tagsAt (i32.add (local.get $to) (i32.const 12)))
    (local.set $tagsEnd (i32.add (local.get $to) (i32.const 268)))
    (if (i32.eqz (call $look
          (local.get $from) (local.get $tagsAt)
          (i32.shr_u (i32.sub (local.get $limit) (i32.const 268)) (i32.const 2))
          (local.get $tables)))
      (then (return (i32.const -1))))
    (local.set $markAt (i32.add (local.get $tables) (i32.const 80)))
    (local.set $miss (i32.add (local.get $tables) (i32.const 1104)))
    (local.set $slot (i32.add (local.get $tables) (i32.const 5200)))
    (local.set $low (i32.add (local.get $tables) (i32.const 6240)))
    (loop $group
      (local.set $groupEnd (i32.add (local.get $markAt) (i32.const 16)))
      (if (i32.load $control (local.get $tagsAt))
        (then
          (loop $next
            (local.set $word (i32.load $control (local.get $from)))
            (local.set $mark (i32.load8_u $control (local.get $markAt)))
            (local.set $tag (i32.and (local.get $mark) (i32.const 3)))
            (i32.store $control (local.get $miss) (local.get $word))
            (local.set $miss
              (i32.add (local.get $miss) (i32.shl (i32.eq (local.get $tag) (i32.const 2)) (i32.const 2))))
            (i32.store8 $control (local.get $slot) (i32.shr_u (local.get $mark) (i32.const 2)))
            (local.set $slot (i32.add (local.get $slot) (i32.and (local.get $mark) (i32.const 1))))
            (i32.store16 $control (local.get $low) (local.get $word))
            (local.set $low
              (i32.add (local.get $low) (i32.shl (i32.eq (local.get $tag) (i32.const 1)) (i32.const 1))))
            (local.set $from (i32.add (local.get $from) (i32.const 4)))
            (local.set $markAt (i32.add (local.get $markAt) (i32.const 1)))
            (br_if $next (i32.ne (local.get $markAt) (local.get $groupEnd)))))
        (else
          (local.set $from (i32.add (local.get $from) (i32.const 64)))
          (local.set $markAt (local.get $groupEnd))))
      (local.set $tagsAt (i32.add (local.get $tagsAt) (i32.const 4)))
      (br_if $group (i32.ne (local.get $tagsAt) (local.get $tagsEnd))))
    ;; The last packs are filled up with zeros.
    (i64.store $control (local.get $slot) (i64.const 0))
    (i64.store $control (local.get $low) (i64.const 0))
    (local.set $misses
      (i32.shr_u (i32.sub (i32.sub (local.get $miss) (local.get $tables)) (i32.const 1104)) (i32.const 2)))
    (local.set $hits (i32.sub (i32.sub (local.get $slot) (local.get $tables)) (i32.const 5200)))
    (local.set $partials
      (i32.shr_u (i32.sub (i32.sub (local.get $low) (local.get $tables)) (i32.const 6240)) (i32.const 1)))
    (local.set $total (call $size (local.get $misses) (local.get $hits) (local.get $partials)))
    (if (i32.gt_s (local.get $total) (local.get $limit)) (then (return (i32.const -1))))
    (i32.store $control (local.get $to) (local.get $misses))
    (i32.store $control offset=4 (local.get $to) (local.get $hits))
    (i32.store $control offset=8 (local.get $to) (local.get $partials))
    (local.set $misses (i32.shl (local.get $misses) (i32.const 2)))
    (memory.copy $control $control
      (local.get $tagsEnd) (i32.add (local.get $tables) (i32.const 1104)) (local.get $misses))
    (call $packTables
      (i32.add (local.get $tagsEnd) (local.get $misses)) (local.get $tables) (local.get $slot) (local.get $low))
    (local.get $total))

  ;; Slots and lows of the tables -> $to; $slotEnd and $lowEnd are the ends of what is in them.
  (func $packTables (param $to i32) (param $tables i32) (param $slotEnd i32) (param $lowEnd i32)
    (local $at i32)
    (local.set $at (i32.add (local.get $tables) (i32.const 5200)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $slotEnd)))
        (i32.store $control (local.get $to) (call $pack8 (i64.load $control (local.get $at))))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))
    (local.set $at (i32.add (local.get $tables) (i32.const 6240)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $lowEnd)))
        (i32.store $control (local.get $to) (call $pack3 (i64.load $control (local.get $at))))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (local.set $at (i32.add (local.get $at) (i32.const 6)))
        (br $next))))

  ;; 1 if the 256 bytes of tags have just these counts.
  (func $tagsAgree (param $tags i32) (param $misses i32) (param $hits i32) (param $partials i32) (result i32)
    (local $end i32) (local $low i64) (local $high i64) (local $odd i64) (local $even i64) (local $both i64)
    (local.set $end (i32.add (local.get $tags) (i32.const 256)))
    (loop $next
      (local.set $low (i64.load $control (local.get $tags)))
      (local.set $high (i64.and (i64.shr_u (local.get $low) (i64.const 1)) (i64.const 0x5555555555555555)))
      (local.set $low (i64.and (local.get $low) (i64.const 0x5555555555555555)))
      (local.set $odd (i64.add (local.get $odd) (i64.popcnt (local.get $low))))
      (local.set $even (i64.add (local.get $even) (i64.popcnt (local.get $high))))
      (local.set $both (i64.add (local.get $both) (i64.popcnt (i64.and (local.get $low) (local.get $high)))))
      (local.set $tags (i32.add (local.get $tags) (i32.const 8)))
      (br_if $next (i32.ne (local.get $tags) (local.get $end))))
    (i32.and
      (i32.and
        (i64.eq (i64.extend_i32_u (local.get $hits)) (local.get $odd))
        (i64.eq (i64.extend_i32_u (local.get $misses)) (i64.sub (local.get $even) (local.get $both))))
      (i64.eq (i64.extend_i32_u (local.get $partials)) (i64.sub (local.get $odd) (local.get $both)))))

  ;; Slots and lows at $from -> the tables. Returns 1 if nothing but zeros is left over in their packs.
  (func $unpackTables (param $from i32) (param $hits i32) (param $partials i32) (param $tables i32) (result i32)
    (local $at i32) (local $end i32) (local $word i32) (local $extra i32)
    (local.set $at (i32.add (local.get $tables) (i32.const 5200)))
    (local.set $end (i32.add (local.get $at) (local.get $hits)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $word (i32.load $control (local.get $from)))
        (i64.store $control (local.get $at) (call $unpack8 (local.get $word)))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))
    (if (i32.and (local.get $hits) (i32.const 7))
      (then
        (local.set $extra
          (i32.shr_u (local.get $word) (i32.shl (i32.and (local.get $hits) (i32.const 7)) (i32.const 2))))))
    (local.set $at (i32.add (local.get $tables) (i32.const 6240)))
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $partials) (i32.const 1))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $word (i32.load $control (local.get $from)))
        (local.set $extra (i32.or (local.get $extra) (i32.shr_u (local.get $word) (i32.const 30))))
        (i64.store $control (local.get $at) (call $unpack3 (local.get $word)))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (local.set $at (i32.add (local.get $at) (i32.const 6)))
        (br $next)))
    ;; $at has passed $end by 0, 2 or 4 bytes: so many lows are missing from the last pack.
    (if (i32.ne (local.get $at) (local.get $end))
      (then
        (local.set $extra
          (i32.or
            (local.get $extra)
            (i32.shr_u
              (local.get $word)
              (i32.sub
                (i32.const 30)
                (i32.mul (i32.const 5) (i32.sub (local.get $at) (local.get $end)))))))))
    (i32.eqz (local.get $extra)))

  ;; One page from $from, where $available bytes may be read. Returns the bytes read, or -1 when they are not a page's;
  ;; the page is not touched then: all is checked before, so that the second loop needs no check.
  (func (export "decode") (param $from i32) (param $available i32) (param $page i32) (param $tables i32) (result i32)
    (local $misses i32) (local $hits i32) (local $partials i32) (local $total i32)
    (if (i32.lt_s (local.get $available) (i32.const 268)) (then (return (i32.const -1))))
    (local.set $misses (i32.load $control (local.get $from)))
    (local.set $hits (i32.load $control offset=4 (local.get $from)))
    (local.set $partials (i32.load $control offset=8 (local.get $from)))
    ;; Equal counts are at most 1,024 each, so the sizes below do not wrap.
    (if (i32.eqz (call $tagsAgree
          (i32.add (local.get $from) (i32.const 12)) (local.get $misses) (local.get $hits) (local.get $partials)))
      (then (return (i32.const -1))))
    (local.set $total (call $size (local.get $misses) (local.get $hits) (local.get $partials)))
    (if (i32.gt_s (local.get $total) (local.get $available)) (then (return (i32.const -1))))
    (if (i32.eqz (call $unpackTables
          (i32.add (i32.add (local.get $from) (i32.const 268)) (i32.shl (local.get $misses) (i32.const 2)))
          (local.get $hits) (local.get $partials) (local.get $tables)))
      (then (return (i32.const -1))))
    (call $place (local.get $from) (local.get $page) (local.get $tables))
    (local.get $total))

  ;; Tags, missed words and tables -> the page.
  (func $place (param $from i32) (param $page i32) (param $tables i32)
    (local $to i32) (local $tags i32) (local $tagsAt i32) (local $left i32)
    (local $miss i32) (local $slot i32) (local $low i32) (local $word i32) (local $at i32)
    (call $clearDictionary (local.get $tables))
    (local.set $to (i32.shl (local.get $page) (i32.const 12)))
    (local.set $tagsAt (i32.add (local.get $from) (i32.const 12)))
    (local.set $miss (i32.add (local.get $from) (i32.const 268)))
    (local.set $slot (i32.add (local.get $tables) (i32.const 5200)))
    (local.set $low (i32.add (local.get $tables) (i32.const 6240)))
    (loop $group
      (local.set $tags (i32.load $control (local.get $tagsAt)))
      (local.set $left (i32.const 16))
      (if (local.get $tags)
        (then
          (loop $next
            (block $known
              (block $exact
                (block $miss
                  (block $partial
                    (block $zero
                      (br_table $zero $partial $miss $exact (i32.and (local.get $tags) (i32.const 3))))
                    (local.set $word (i32.const 0))
                    (br $known))
                  (local.set $at
                    (i32.add
                      (local.get $tables)
                      (i32.shl (i32.load8_u $control (local.get $slot)) (i32.const 2))))
                  (local.set $word
                    (i32.or
                      (i32.and (i32.load $control (local.get $at)) (i32.const -1024))
                      (i32.load16_u $control (local.get $low))))
                  (i32.store $control (local.get $at) (local.get $word))
                  (local.set $slot (i32.add (local.get $slot) (i32.const 1)))
                  (local.set $low (i32.add (local.get $low) (i32.const 2)))
                  (br $known))
                (local.set $word (i32.load $control (local.get $miss)))
                (i32.store $control
                  (i32.add
                    (local.get $tables)
                    (i32.and
                      (i32.shr_u
                        (i32.mul (i32.shr_u (local.get $word) (i32.const 10)) (i32.const 0x9E3779B1))
                        (i32.const 26))
                      (i32.const 60)))
                  (local.get $word))
                (local.set $miss (i32.add (local.get $miss) (i32.const 4)))
                (br $known))
              (local.set $word
                (i32.load $control
                  (i32.add
                    (local.get $tables)
                    (i32.shl (i32.load8_u $control (local.get $slot)) (i32.const 2)))))
              (local.set $slot (i32.add (local.get $slot) (i32.const 1))))
            (i32.store $pages (local.get $to) (local.get $word))
            (local.set $to (i32.add (local.get $to) (i32.const 4)))
            (local.set $tags (i32.shr_u (local.get $tags) (i32.const 2)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $next (local.get $left))))
        (else
          (v128.store $pages (local.get $to) (v128.const i64x2 0 0))
          (v128.store $pages offset=16 (local.get $to) (v128.const i64x2 0 0))
          (v128.store $pages offset=32 (local.get $to) (v128.const i64x2 0 0))
          (v128.store $pages offset=48 (local.get $to) (v128.const i64x2 0 0))
          (local.set $to (i32.add (local.get $to) (i32.const 64)))))
      (local.set $tagsAt (i32.add (local.get $tagsAt) (i32.const 4)))
      (br_if $group (i32.and (local.get $to) (i32.const 4095))))))
