# Arithmetic, integer and floating point, must be that of any machine.
mandel 64 20
bench 300 2>/dev/null
life 100
uname -m; uname -s
sleep 0.01; echo $?
date | grep -c UTC
