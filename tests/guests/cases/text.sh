# The tools about contents.
cd /home/demo
head -3 README
head -n 2 rivers; tail -n 2 rivers; tail -1 rivers
sort -n rivers | head -3; sort -rn rivers | head -3
grep -n snow poems/*; grep -ic THE poems/first-snow poems/the-sleeper
grep -v a rivers; grep '^6' rivers; grep 'o$' rivers
wc rivers; wc -l rivers poems/*; cat rivers | wc -c
echo b > /tmp/s; echo a >> /tmp/s; echo b >> /tmp/s; sort /tmp/s; sort -u /tmp/s; rm /tmp/s
echo 'Hello, bytes.' | hexdump
seq 3; seq 8 10; echo -n no newline; echo
sh hello.sh World | tail -1
cat /etc/motd /etc/os-release
