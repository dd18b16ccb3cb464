  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 i64 i64 i64 i64 i32 i32 i32 i32)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block (result i32) ;; label = @3
          block (result i32) ;; label = @4
            block ;; label = @5
              block ;; label = @6
                block ;; label = @7
                  block ;; label = @8
                    local.get 3
                    br_table 1 (;@7;) 0 (;@8;)
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
                  local.get 26
                  i32.wrap_i64
                  local.tee 30
                  i64.extend_i32_s
                  local.get 26
                  i64.ne
                  if ;; label = @8
                    i32.const 8193
                    br 5 (;@3;)
                  end
                  br 1 (;@6;)
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
                local.get 26
                i32.wrap_i64
                local.set 30
                local.get 4
                i64.const 1
                i64.sub
                local.set 4
                local.get 0
                local.get 30
                i64.extend_i32_s
                i64.store offset=80
                br 0 (;@6;)
              end
              loop ;; label = @6
                local.get 30
                i32.const 7
                i32.shl
                local.set 32
                local.get 30
                i32.const 25
                i32.shr_u
                local.set 33
                local.get 32
                local.get 33
                i32.or
                local.set 30
                local.get 27
                i32.wrap_i64
                i32.const -1
                i32.add
                local.set 31
                local.get 4
                i64.const 5
                i64.sub
                local.set 4
                local.get 31
                if ;; label = @7
                  local.get 31
                  i64.extend_i32_s
                  local.set 27
                  local.get 4
                  i64.const 8
                  i64.ge_s
                  br_if 1 (;@6;)
                  i32.const 8192
                  br 3 (;@4;)
                else
                  local.get 0
                  local.get 30
                  i64.extend_i32_s
                  i64.store offset=80
                  local.get 0
                  local.get 31
                  i64.extend_i32_s
                  i64.store offset=88
                  local.get 0
                  local.get 32
                  i64.extend_i32_s
                  i64.store offset=104
                  local.get 0
                  local.get 33
                  i64.extend_i32_s
                  i64.store offset=112
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
          local.get 30
          i64.extend_i32_s
          i64.store offset=80
          local.get 0
          local.get 27
          i64.store offset=88
          local.get 9
          br 1 (;@2;)
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
