  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 f64 f64 f64)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block (result i32) ;; label = @3
          block ;; label = @4
            local.get 0
            i32.load offset=520
            i32.const 225
            i32.and
            local.set 11
            block ;; label = @5
              br 0 (;@5;)
            end
            local.get 0
            i64.load offset=8
            local.set 25
            local.get 0
            f64.load offset=360
            local.set 26
            local.get 0
            f64.load offset=368
            local.set 27
            local.get 0
            f64.load offset=376
            local.set 28
            local.get 11
            i32.const 1
            i32.ne
            if ;; label = @5
              i32.const 8195
              br 2 (;@3;)
            end
            local.get 26
            i64.reinterpret_f64
            i64.const -4294967296
            i64.lt_u
            local.get 27
            i64.reinterpret_f64
            i64.const -4294967296
            i64.lt_u
            i32.or
            local.get 28
            i64.reinterpret_f64
            i64.const -4294967296
            i64.lt_u
            i32.or
            if ;; label = @5
              i32.const 8195
              br 2 (;@3;)
            end
            local.get 26
            i64.reinterpret_f64
            i32.wrap_i64
            f32.reinterpret_i32
            f64.promote_f32
            f64.neg
            local.get 27
            i64.reinterpret_f64
            i32.wrap_i64
            f32.reinterpret_i32
            f64.promote_f32
            f64.mul
            local.set 20
            local.get 28
            i64.reinterpret_f64
            i32.wrap_i64
            f32.reinterpret_i32
            f64.promote_f32
            f64.neg
            local.tee 21
            local.get 20
            f64.add
            local.set 19
            local.get 19
            i64.reinterpret_f64
            i32.wrap_i64
            i32.const 536870911
            i32.and
            i32.const 268435456
            i32.eq
            if ;; label = @5
              local.get 20
              local.get 21
              f64.add
              local.tee 17
              local.get 20
              f64.sub
              local.set 18
              local.get 20
              local.get 17
              local.get 18
              f64.sub
              f64.sub
              local.get 21
              local.get 18
              f64.sub
              f64.add
              local.set 18
              local.get 17
              i64.reinterpret_f64
              i64.const 1
              i64.const -1
              local.get 18
              f64.const 0x0p+0 (;=0;)
              f64.gt
              local.get 17
              f64.const 0x0p+0 (;=0;)
              f64.gt
              i32.eq
              select
              i64.const 0
              local.get 18
              f64.const 0x0p+0 (;=0;)
              f64.ne
              local.get 17
              i64.reinterpret_f64
              i32.wrap_i64
              i32.const -1
              i32.xor
              i32.and
              i32.const 1
              i32.and
              select
              i64.add
              f64.reinterpret_i64
              local.set 19
            end
            local.get 19
            f32.demote_f64
            f64.promote_f32
            local.set 17
            local.get 17
            f64.abs
            local.tee 18
            f64.const 0x1p-126 (;=0.000000000000000000000000000000000000011754943508222875;)
            f64.gt
            local.get 18
            f64.const inf (;=inf;)
            f64.lt
            i32.and
            i32.eqz
            if ;; label = @5
              local.get 19
              f64.const 0x0p+0 (;=0;)
              f64.eq
              i32.eqz
              if ;; label = @6
                i32.const 8195
                br 3 (;@3;)
              end
            end
            local.get 17
            f32.demote_f64
            i32.reinterpret_f32
            i64.extend_i32_u
            i64.const -4294967296
            i64.or
            f64.reinterpret_i64
            local.set 28
            local.get 25
            i64.const -2
            i64.and
            local.set 12
            local.get 4
            i64.const 3
            i64.sub
            local.set 4
            br 0 (;@4;)
            unreachable
          end
          local.get 0
          local.get 28
          f64.store offset=376
          local.get 0
          local.get 12
          i64.store offset=512
          local.get 4
          return
        end
        local.set 9
        local.get 9
        br 0 (;@2;)
      end
      local.tee 9
      i32.const 11
      i32.shr_s
      i64.extend_i32_s
      local.get 2
      i64.add
      local.set 12
      local.get 9
    end
    local.set 9
    local.get 0
    local.get 12
    i64.store offset=512
    local.get 4
    local.get 9
    i32.const 1
    i32.shr_u
    i32.const 1023
    i32.and
    i64.extend_i32_u
    i64.sub
    i64.const 0
    local.get 9
    i32.const 1
    i32.and
    i64.extend_i32_u
    i64.sub
    i64.xor
