  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 i64 i64 f64 f64 f64 i32)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block (result i32) ;; label = @3
          block (result i32) ;; label = @4
            block ;; label = @5
              local.get 1
              i32.load
              local.set 6
              local.get 1
              i32.load offset=4
              local.set 7
              local.get 0
              i32.load offset=520
              i32.const 225
              i32.and
              local.set 11
              block ;; label = @6
                br 0 (;@6;)
              end
              local.get 0
              i64.load offset=8
              local.set 25
              local.get 0
              i64.load offset=112
              local.set 26
              local.get 0
              i64.load offset=120
              local.set 27
              local.get 0
              f64.load offset=368
              local.set 29
              local.get 0
              f64.load offset=376
              local.set 30
              loop ;; label = @6
                local.get 26
                local.tee 13
                i64.const 3
                i64.rotr
                local.get 13
                i32.wrap_i64
                local.tee 31
                i32.const 12
                i32.shr_u
                local.get 7
                i32.add
                i64.load8_u
                i64.const 1
                i64.and
                i64.const 29
                i64.shl
                i64.ge_u
                if ;; label = @7
                  i32.const 1
                  br 4 (;@3;)
                end
                local.get 31
                local.get 6
                i32.add
                local.set 31
                local.get 31
                f64.load align=1
                local.set 28
                local.get 11
                i32.const 1
                i32.ne
                if ;; label = @7
                  i32.const 8195
                  br 3 (;@4;)
                end
                local.get 28
                f64x2.splat
                local.get 29
                f64x2.splat
                local.get 30
                f64x2.splat
                f64x2.relaxed_madd
                f64x2.extract_lane 0
                local.set 17
                local.get 17
                i64.reinterpret_f64
                i64.const 32
                i64.shr_u
                i32.wrap_i64
                i32.const 1
                i32.shl
                i32.const 2097154
                i32.sub
                i32.const -4194306
                i32.ge_u
                if ;; label = @7
                  local.get 28
                  f64.const 0x0p+0 (;=0;)
                  f64.eq
                  local.get 29
                  f64.const 0x0p+0 (;=0;)
                  f64.eq
                  i32.or
                  local.get 30
                  f64.abs
                  f64.const 0x1p-900 (;=0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000011830521861667747;)
                  f64.ge
                  i32.or
                  local.get 17
                  f64.const 0x0p+0 (;=0;)
                  f64.eq
                  i32.and
                  i32.eqz
                  if ;; label = @8
                    i32.const 8195
                    br 4 (;@4;)
                  end
                end
                local.get 17
                local.set 30
                local.get 26
                i64.const 8
                i64.add
                local.set 26
                local.get 4
                i64.const 4
                i64.sub
                local.set 4
                local.get 26
                local.get 27
                i64.ne
                if ;; label = @7
                  local.get 4
                  i64.const 6
                  i64.ge_s
                  br_if 1 (;@6;)
                  i32.const 0
                  br 4 (;@3;)
                else
                  local.get 0
                  local.get 26
                  i64.store offset=112
                  local.get 0
                  local.get 28
                  f64.store offset=360
                  local.get 0
                  local.get 30
                  f64.store offset=376
                  local.get 25
                  i64.const -2
                  i64.and
                  local.set 12
                  local.get 4
                  i64.const 1
                  i64.sub
                  local.set 4
                  br 2 (;@5;)
                end
              end
              unreachable
            end
            local.get 0
            local.get 12
            i64.store offset=512
            local.get 4
            return
          end
          local.set 9
          local.get 0
          local.get 26
          i64.store offset=112
          local.get 0
          local.get 28
          f64.store offset=360
          local.get 0
          local.get 30
          f64.store offset=376
          local.get 9
          br 1 (;@2;)
        end
        local.set 9
        local.get 0
        local.get 26
        i64.store offset=112
        local.get 0
        local.get 30
        f64.store offset=376
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
