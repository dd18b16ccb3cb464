//! Real images against qemu-riscv64: stdout, stderr and exit code are equal.

use friscy_tests::oracle::Image;
use friscy_tests::scripts::SCRIPTS;

fn scripts(image: &'static str) {
    let commands = SCRIPTS.iter().map(|script| (vec!["/bin/sh", "-c", script], "first second\nthird\n"));
    Image::get(image).all_same(commands);
}

#[test]
fn shell_scripts_on_static_busybox() {
    scripts("tiny");
}

#[test]
fn shell_scripts_on_musl_busybox() {
    scripts("musl");
}

#[test]
fn shell_scripts_on_debian() {
    scripts("debian-min");
}

#[test]
fn bash_on_debian() {
    let scripts = [
        "a=(1 2 3); echo ${#a[@]} ${a[@]:1}; declare -A m=([x]=1 [y]=2); echo ${m[y]}",
        "cat <(echo process) <(echo substitution)",
        "coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x",
        "set -o pipefail; false | true; echo $?",
        "[[ abc =~ ^a(.)c$ ]] && echo ${BASH_REMATCH[1]}",
        "printf '%q %05.2f %x\\n' 'a b' 3.14159 255",
        "{ time -p true; } 2>&1 | cut -d' ' -f1; echo ${BASH_VERSINFO[0]}",
        "x=5; ((x**=3)); echo $x; echo {a..e} {01..03}",
        "mapfile -t l < <(seq 3); echo ${l[2]}",
        "ulimit -n; ulimit -c",
        "for i in 1 2 3; do (exit $i) & done; wait; echo $?",
        "read -t 0.2 x < <(sleep 1); echo $?",
        "exec -a name sh -c 'echo $0'",
        "gawk 'BEGIN { printf \"%.10g %s\\n\", atan2(0,-1), toupper(\"x\") }'",
        "grep -c . /etc/services 2>&1; find /usr/bin -name 'b*' | sort | tail -3",
        "diff <(printf 'a\\nb\\n') <(printf 'a\\nc\\n'); echo $?",
        "ps -o comm= -p $$",
        "dpkg --print-architecture; dpkg -l bash | tail -1 | awk '{print $2,$3}'",
        "sort -R /etc/passwd | wc -l; shuf -i 1-10 | sort -n | tail -1",
        "perl -e 'print join(\",\", map { $_*$_ } 1..5), \"\\n\"; fork or exit 3; wait; print $? >> 8, \"\\n\"'",
    ];
    Image::get("debian-min").all_same(scripts.map(|script| (vec!["/bin/bash", "-c", script], "")));
}

#[test]
fn bash_on_debian_reads_a_script_from_stdin() {
    let script = "echo from stdin\nread line\nthis is read\necho got: $line\nexit 4\n";
    Image::get("debian-min").all_same([(vec!["/bin/bash"], script)]);
}

#[test]
fn python() {
    let scripts = [
        "print(1)",
        "import json; print(json.dumps({'a':[1,2.5,None,True]}, indent=1)); print(json.loads('[1e3]'))",
        "import re; print(re.findall(r'(\\w+)@(\\w+)', 'a@b c@d'))",
        "import hashlib; print(hashlib.sha256(b'x'*100000).hexdigest(), hashlib.blake2b(b'y').hexdigest()[:16])",
        "import sqlite3; c=sqlite3.connect(':memory:'); c.execute('create table t(a)'); c.executemany('insert into t values(?)', [(i,) for i in range(1000)]); print(c.execute('select sum(a) from t').fetchone())",
        "import sqlite3; c=sqlite3.connect('/tmp/x.db'); c.execute('create table t(a)'); c.execute('insert into t values(1)'); c.commit(); c.close(); print(sqlite3.connect('/tmp/x.db').execute('select * from t').fetchall()); import os; os.unlink('/tmp/x.db')",
        "import subprocess; print(subprocess.run(['sh','-c','echo out; echo err >&2; exit 3'], capture_output=True))",
        "import subprocess; p=subprocess.Popen(['cat'], stdin=-1, stdout=-1); print(p.communicate(b'x'*200000)[0].count(b'x'))",
        "import threading; r=[]; ts=[threading.Thread(target=lambda i=i: r.append(i*i)) for i in range(20)]; [t.start() for t in ts]; [t.join() for t in ts]; print(sorted(r))",
        "import threading,time; e=threading.Event(); threading.Timer(0.05, e.set).start(); print(e.wait(5), e.wait(0.01))",
        "import asyncio\nasync def f(i): await asyncio.sleep(0.01*(3-i)); return i\nasync def main(): print(await asyncio.gather(*(f(i) for i in range(3))))\nasyncio.run(main())",
        "import asyncio\nasync def main():\n p=await asyncio.create_subprocess_exec('echo','hi',stdout=-1); print(await p.communicate())\nasyncio.run(main())",
        "1/0",
        "import sys; sys.exit('message')",
        "import os,signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import math; print(math.sqrt(2), math.sin(1e10), math.fma(3,4,5) if hasattr(math,'fma') else 17.0, 2**200, 10**50//7)",
        "import decimal, fractions; print(decimal.Decimal(1)/7, fractions.Fraction(3,9))",
        "import os; r,w=os.pipe(); pid=os.fork()\nif pid==0: os.write(w,b'child'); os._exit(9)\nprint(os.read(r,100), os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))",
        "import multiprocessing as m\nctx=m.get_context('fork')\nwith ctx.Pool(3) as p: print(p.map(abs, range(-5,5)))",
        "import mmap,os; m=mmap.mmap(-1,8192); m[:3]=b'abc'\nif os.fork()==0: m[0]=90; os._exit(0)\nos.wait(); print(m[:3])",
        "import socket; a,b=socket.socketpair(); a.send(b'x'); print(b.recv(9))",
        "import zlib,lzma,bz2; d=bytes(range(256))*100; print(all(m.decompress(m.compress(d))==d for m in (zlib,lzma,bz2)))",
        "import os; print(sorted(os.listdir('/'))[:3], os.stat('/etc/passwd').st_size, os.path.realpath('/bin/sh'))",
        "import time; a=time.monotonic(); time.sleep(0.05); print(0.04 < time.monotonic()-a < 5)",
        "import signal,time; signal.signal(signal.SIGALRM, lambda *a: print('alarm')); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2); print('done')",
        "import os, subprocess; [os.set_inheritable(os.dup(0), True) for _ in range(40)]; print(subprocess.run(['ls', '/proc/self/fd'], capture_output=True))",
        "import os, signal; signal.signal(signal.SIGUSR1, lambda *a: print('got it')); fd=os.open('/proc/self', os.O_DIRECTORY); signal.pidfd_send_signal(fd, signal.SIGUSR1)",
        "import os\ntry: os.sched_getaffinity(-1)\nexcept OSError as e: print(e)",
        "import socket, ctypes; s=socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.connect(('::1', 9)); print(ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16), s.getsockname()[0])",
        "import ctypes; print(ctypes.CDLL(None).getpid()>0, ctypes.sizeof(ctypes.c_long))",
        "import random; random.seed(1); print([random.random() for _ in range(3)])",
        "import unicodedata; print(unicodedata.name('é'), 'ß'.upper(), sorted('éaz'))",
        "import datetime; print(datetime.datetime.fromtimestamp(0, datetime.timezone.utc).isoformat())",
        "def f(n): return n if n<2 else f(n-1)+f(n-2)\nprint(f(20))",
        "import sys; sys.setrecursionlimit(5000)\ndef f(n): return 0 if n==0 else 1+f(n-1)\nprint(f(4000))",
        "x = [bytearray(1<<20) for _ in range(40)]; print(len(x))",
    ];
    let mut commands: Vec<_> =
        scripts.iter().map(|script| (vec!["/usr/bin/python3", "-c", script], "")).collect();
    let script =
        "import sys\nprint(sys.version_info[:2])\nfor i in range(3):\n  print(i)\n\nraise ValueError('x')\n";
    commands.push((vec!["/usr/bin/python3"], script));
    commands.push((vec!["/usr/bin/python3", "-q", "-i"], "1+1\nimport os\nos.getcwd()\nundefined\n"));
    Image::get("debian-python3").all_same(commands);
}
