# Lists, pipelines, statuses.
true && echo yes || echo no
false && echo yes || echo no
false || false || echo third
! true; echo $?
! false; echo $?
false | true; echo $?
true | false; echo $?
exitcode_that_is_not_there; echo $?
/etc/passwd; echo $?
/nowhere/program; echo $?
sh -c 'exit 42'; echo $?
sh -c 'kill -TERM $$'; echo $?
echo a; echo b & wait; echo c
cat /etc/passwd | grep demo | wc -l
seq 100 | tail -n 3 | head -1
seq 1000 | sort -rn | head -n 2
echo multi \
  line &&
  echo continued |
  cat
echo 'two
lines'
