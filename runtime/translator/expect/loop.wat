  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 i64 i64 i64 i64 i32 i32 i32)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block (result i32) ;; label = @3
          block ;; label = @4
            local.get 1
            i32.load
            local.set 6
            local.get 1
            i32.load offset=4
            local.set 7
            block ;; label = @5
              br 0 (;@5;)
            end
            local.get 0
            i64.load offset=8
            local.set 25
            local.get 0
            i64.load offset=80
            local.set 26
            local.get 0
            i64.load offset=88
            local.set 27
            local.get 0
            i64.load offset=96
            local.set 28
            loop ;; label = @5
              local.get 26
              local.tee 13
              i64.const 2
              i64.rotr
              local.get 13
              i32.wrap_i64
              local.tee 32
              i32.const 12
              i32.shr_u
              local.get 7
              i32.add
              i64.load8_u
              i64.const 1
              i64.and
              i64.const 30
              i64.shl
              i64.ge_u
              if ;; label = @6
                i32.const 1
                br 3 (;@3;)
              end
              local.get 32
              local.get 6
              i32.add
              local.set 32
              local.get 32
              i32.load align=1
              local.set 31
              local.get 27
              i32.wrap_i64
              local.get 31
              i32.add
              local.set 30
              local.get 26
              i64.const 4
              i64.add
              local.set 26
              local.get 4
              i64.const 4
              i64.sub
              local.set 4
              local.get 26
              local.get 28
              i64.ne
              if ;; label = @6
                local.get 30
                i64.extend_i32_s
                local.set 27
                local.get 4
                i64.const 6
                i64.ge_s
                br_if 1 (;@5;)
                i32.const 0
                br 3 (;@3;)
              else
                local.get 0
                local.get 26
                i64.store offset=80
                local.get 0
                local.get 30
                i64.extend_i32_s
                i64.store offset=88
                local.get 0
                local.get 31
                i64.extend_i32_s
                i64.store offset=104
                local.get 25
                i64.const -2
                i64.and
                local.set 12
                local.get 4
                i64.const 1
                i64.sub
                local.set 4
                br 2 (;@4;)
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
        i64.store offset=80
        local.get 0
        local.get 27
        i64.store offset=88
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
