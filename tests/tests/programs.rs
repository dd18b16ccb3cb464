//! Real programs doing what people do with them: version control, databases, servers and their clients on loopback.
//!
//! What is deterministic is compared with qemu-riscv64; servers' answers are asserted. The images of
//! `tests/images/build.sh whole` take minutes to build: their tests are ignored unless asked for (`tests/run whole`).

use std::time::Duration;

use friscy_tests::oracle::Image;

/// Every script on both sides, the same output.
fn same(image: &'static str, scripts: &[&str]) {
    Image::get(image).all_same(scripts.iter().map(|script| (vec!["/bin/bash", "-c", *script], "")));
}

/// A script here; exactly this output.
#[track_caller]
fn prints(image: &Image, script: &str, expected: &str) {
    let clean = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    assert_eq!(clean(&image.prints("/bin/bash", script)), clean(expected.trim()), "{script}");
}

/// What every script needs of git.
const GIT: &str = "set -e; rm -rf /tmp/git; mkdir /tmp/git; cd /tmp/git; export HOME=/tmp/git
    export GIT_AUTHOR_DATE='2025-01-01T00:00:00Z' GIT_COMMITTER_DATE='2025-01-01T00:00:00Z'
    git config --global user.name N; git config --global user.email n@example.com
    git config --global init.defaultBranch main; git config --global advice.detachedHead false
    git init -q a; cd a; for i in 1 2 3; do echo line $i >> f; git add f; git commit -qm \"commit $i\"; done
    ";

#[test]
fn a_go_program_transforms_bundles_and_serves() {
    let files = "cd /tmp; rm -rf go; mkdir go; cd go; echo 'export const b = (n: number) => n * 2; export const unused = 1;' > b.ts
        printf 'import { b } from \"./b\";\\nenum E { A, B }\\nlet x: number = E.B; console.log(x ?? 2, b(3));\\n' > a.ts; ";
    let transform = format!("{files} esbuild --version; esbuild a.ts --minify; esbuild --loader=ts < a.ts");
    let bundle = format!(
        "{files} esbuild a.ts --bundle --sourcemap --outfile=out.js --log-level=error; cat out.js out.js.map; echo 'let let' | esbuild; echo $?"
    );
    let commands = [&transform, &bundle].map(|script| (vec!["/bin/sh", "-c", script.as_str()], ""));
    Image::get("go").all_same(commands);
    let serve = format!("{files} esbuild a.ts --bundle --outdir=out --servedir=out --serve=127.0.0.1:8000 --log-level=error < /dev/zero &
        until wget -q -O a.js http://127.0.0.1:8000/a.js 2> /dev/null; do sleep 0.2; done; grep console a.js; kill $!");
    assert_eq!(Image::get("go").prints("/bin/sh", &serve).trim(), "console.log(x ?? 2, b(3));");
}

/// Programs of Debian images; `tests/run quick` leaves them out by this name.
mod debian {
    use super::*;

    #[test]
    fn git_keeps_history() {
        let history = format!(
        "{GIT} git log --oneline --stat; git diff HEAD~2; git status --short; git branch b; git checkout -q b
        echo x > g; git add g; git commit -qm g; git checkout -q main; echo y >> f; git commit -qam y
        git merge -q -m merge b; git log --oneline --graph; git blame -s f; git show --stat HEAD~1
        echo z >> f; git stash -q; git stash list; git stash pop -q; git checkout -q f; git tag v1; git archive v1 | tar t
        git rebase -q --onto HEAD~1 HEAD; git reflog | wc -l; git rev-parse HEAD"
    );
        let clones = format!(
        "{GIT} cd ..; git clone -q a b; git clone -q file:///tmp/git/a c; git -C c log --oneline | wc -l; git -C c fsck
        git -C c gc -q; git -C c count-objects -v | grep in-pack; cd b; echo z > z; git add z; git commit -qm z
        git push -q origin HEAD:refs/heads/z; git -C ../a branch -a; git -C ../c pull -q origin z; cat ../c/z"
    );
        same("programs", &[&history, &clones]);
    }

    #[test]
    fn git_clones_over_http_and_its_own_protocol() {
        let script = format!(
        "{GIT} cd ..; git clone -q --bare a a.git; git -C a.git update-server-info
        python3 -m http.server 8000 --bind 127.0.0.1 > http.log 2>&1 & curl -s -o /dev/null --retry 20 --retry-connrefused http://127.0.0.1:8000/
        git clone -q http://127.0.0.1:8000/a.git over-http; git -C over-http log --format=%s | head -1
        git daemon --base-path=/tmp/git --export-all --reuseaddr --listen=127.0.0.1 &
        until (exec 3<>/dev/tcp/127.0.0.1/9418) 2> /dev/null; do sleep 0.1; done
        git clone -q git://127.0.0.1/a.git over-git; git -C over-git log --format=%s | tail -1
        kill %1 %2"
    );
        prints(&Image::get("programs"), &script, "commit 3\ncommit 1");
    }

    #[test]
    fn languages_and_tools() {
        let scripts = [
        "cd /tmp; rm -f t.db*; sqlite3 t.db 'create table t(a integer primary key, b text);
            with recursive c(x) as (select 1 union all select x+1 from c where x<5000) insert into t select x, hex(x) from c;
            create index i on t(b); select count(*), sum(a), max(b) from t; pragma integrity_check;'
            sqlite3 t.db 'pragma journal_mode=wal; insert into t values(0,1); select count(*) from t'; ls t.db*; rm t.db*",
        "perl -e 'my %h; $h{$_%7}++ for 1..1000; print join(\",\", map {\"$_=$h{$_}\"} sort keys %h), \"\\n\";
            use POSIX; print POSIX::floor(3.7), \" \", strftime(\"%F\", gmtime(0)), \"\\n\";
            use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen=>1, LocalAddr=>\"127.0.0.1\") or die;
            if (!fork) { my $c = IO::Socket::INET->new(PeerAddr=>\"127.0.0.1:\".$s->sockport); print $c \"hi\\n\"; exit }
            my $c = $s->accept; print scalar <$c>; wait; open(my $p, \"-|\", \"ls /etc/passwd\"); print <$p>'",
        "lua5.4 -e 'local t = {} for i = 1, 1000 do t[i] = i * i end print(#t, t[10], string.format(\"%q\", \"x\\n\"))
            print(os.getenv(\"HOME\"), pcall(error, \"e\")) print(select(\"#\", string.byte(io.open(\"/etc/passwd\"):read(\"a\"), 1, -1)))'",
        "cd /tmp; head -c 3000000 /dev/zero | tr '\\0' x > z; gzip -9 -c z | wc -c; zstd -q -5 -T2 -c z | wc -c
            zstd -qf z; zstd -qd z.zst -c | cmp - z; gzip -kf z; gzip -t z.gz && split -b 1000 z.gz xx && cat xx* | cmp - z.gz && echo same
            rm -f z z.* xx*",
        "cd /tmp; rm -rf mk; mkdir mk; cd mk; printf 'all: a b\\na:\\n\\t@echo making $@\\nb: a\\n\\t@sleep 0.1; echo $@\\nc%%:\\n\\t@echo $@\\nf:\\n\\texit 3\\n' > Makefile
            make -j4; make -j2 c1 c2 c3 | sort; make f; echo $?; make -n b; make --version | head -1",
        "rg --no-heading -n root /etc/passwd; rg -c . /etc/passwd /etc/group --sort path; rg -l 'nologin$' /etc --sort path | head -3; rg nothing-there /etc/passwd; echo $?",
        "flock /tmp/lock echo locked; timeout 0.2 sleep 5; echo $?; echo $(($(nice -n 5 nice) - $(nice))); mktemp -d /tmp/XXXXXX > /dev/null && echo made
            su -s /bin/sh -c 'id -un; touch /etc/x' nobody; setpriv --reuid=1 --clear-groups id -u; tty; truncate -s 10G /tmp/s; stat -c '%s %b' /tmp/s; rm /tmp/s",
        "man 2>&1 | head -1; less --version | head -1; vim --version | head -1; tmux -V; nginx -v; redis-server --version | cut -d' ' -f3; sshd -V 2>&1 | cut -d, -f1",
        "printf 'b\\na\\nc\\n' > /tmp/v; vim -es -u NONE -c 'sort' -c '2s/b/[&]/' -c 'wq' /tmp/v; cat /tmp/v; rm /tmp/v",
    ];
        same("programs", &scripts);
    }

    #[test]
    fn a_process_sees_itself_in_proc() {
        let image = Image::get("programs");
        let script = "sleep 100 & ps -o pid=,ppid=,stat=,comm= --sort=pid | awk '{print $3, $4}' | head -2
        pgrep -c sleep; kill %1; wait; free -m | awk 'NR==2 {print ($2 > 0)}'; nproc; uptime | grep -c load
        top -bn1 | awk 'NR==7 {print $1, $12}'; hostname; script -qc tty /dev/null; df -P / | awk 'NR==2 {print $6}'
        vmstat | wc -l; sysctl -n kernel.ostype; grep -c processor /proc/cpuinfo; w -h | wc -l";
        let expected = "Ss bash\nS sleep\n1\n1\n1\n1\nPID COMMAND\nfriscy\n/dev/pts/0\n/\n3\nLinux\n1\n0";
        prints(&image, script, expected);
    }

    #[test]
    fn python_serves_http() {
        let script = "cd /tmp; echo hello > index.html; head -c 300000 /dev/urandom > big
        python3 -m http.server 8000 > /dev/null 2> log & curl -s -o /dev/null --retry 20 --retry-connrefused http://127.0.0.1:8000/
        curl -si http://localhost:8000/ | tr -d '\\r' | grep -e ^HTTP -e Length -e hello; curl -s http://localhost:8000/big | cmp - big && echo same
        curl -s -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:8000/nope; kill %1; wait; grep -c GET log";
        prints(&Image::get("programs"), script, "HTTP/1.0 200 OK\nContent-Length: 6\nhello\nsame\n404\n4");
    }

    #[test]
    fn redis_serves_its_clients() {
        let script = "cd /tmp; redis-server --save '' --logfile redis.log & until redis-cli ping 2> /dev/null; do sleep 0.1; done
        redis-cli set a 1; redis-cli incr a; redis-cli lpush l x y z; redis-cli lrange l 0 -1
        redis-cli eval 'return redis.call(\"get\", \"a\")' 0; redis-cli bgsave; sleep 0.5; redis-cli info persistence | grep -c rdb_last_bgsave_status:ok
        (redis-cli subscribe ch | head -6 > heard) & sleep 0.5; redis-cli publish ch hi; redis-cli publish ch again; sleep 0.3; tail -1 heard
        redis-benchmark -n 500 -c 20 -t set,get,lpush -q --csv | cut -d, -f1
        redis-cli shutdown nosave; wait; tail -1 redis.log | cut -d' ' -f6-";
        let text = Image::get("programs").prints("/bin/bash", script);
        let expected = [
            "PONG",
            "OK",
            "2",
            "3",
            "z",
            "y",
            "x",
            "2",
            "Background saving started",
            "1",
            "1",
            "1",
            "hi",
            "\"test\"",
            "\"SET\"",
            "\"GET\"",
            "\"LPUSH\"",
            "# Redis is now ready to exit, bye bye...",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nginx_serves_curl() {
        let script = "mkdir /tmp/w; echo page > /tmp/w/index.html; head -c 300000 /dev/urandom > /tmp/w/big
        cat > /tmp/conf <<END
user www-data; worker_processes 2; pid /tmp/pid; error_log /tmp/errors;
events { worker_connections 64; }
http { access_log /tmp/log; server { listen 8080; listen [::]:8080; root /tmp/w; gzip on; gzip_types *;
  location /p/ { proxy_pass http://127.0.0.1:8080/; } location /r { return 301 /; } } }
END
        nginx -c /tmp/conf; curl -si http://127.0.0.1:8080/ | tr -d '\\r' | grep -e HTTP -e page
        curl -s http://127.0.0.1:8080/p/big | cmp - /tmp/w/big && echo same; curl -s --compressed 'http://[::1]:8080/index.html'
        curl -s -o /dev/null -w '%{http_code} %{redirect_url}\\n' http://localhost:8080/r; ps -eo user=,comm= | grep -c 'www-data nginx'
        for i in $(seq 8); do curl -s http://127.0.0.1:8080/p/index.html & done | sort | uniq -c
        nginx -c /tmp/conf -s reload; sleep 0.5; curl -s http://127.0.0.1:8080/; nginx -c /tmp/conf -s quit
        while pgrep nginx > /dev/null; do sleep 0.1; done; wc -l < /tmp/log";
        let expected = "HTTP/1.1 200 OK\npage\nsame\npage\n301 http://localhost:8080/\n2\n8 page\npage\n22";
        prints(&Image::get("programs"), script, expected);
    }

    #[test]
    fn ssh_to_localhost() {
        let script = "mkdir -p /run/sshd /root/.ssh; chmod 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id
        cp /root/.ssh/id.pub /root/.ssh/authorized_keys; touch /root/.hushlogin; : > /etc/motd; rm -rf /etc/update-motd.d/*
        /usr/sbin/sshd -p 2222 -E /tmp/log; o='-i /root/.ssh/id -o StrictHostKeyChecking=no -o LogLevel=ERROR'
        ssh $o -p 2222 root@localhost 'echo over ssh; id -u; exit 3'; echo $?
        ssh $o -p 2222 root@127.0.0.1 cat < /etc/passwd | cmp - /etc/passwd && echo same
        ssh $o -p 2222 -tt root@localhost tty < /dev/null
        scp -q $o -P 2222 /etc/services root@localhost:/tmp/copy && cmp /tmp/copy /etc/services && echo copied
        kill $(cat /run/sshd.pid); grep -c Accepted /tmp/log";
        prints(&Image::get("programs"), script, "over ssh\n0\n3\nsame\n/dev/pts/0\ncopied\n4");
    }

    #[test]
    fn dpkg_and_apt_install_a_package() {
        let script = "mkdir -p /tmp/d/DEBIAN /tmp/d/usr/bin; printf 'Package: greet\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: N <n@example.com>\\nDescription: greets\\n' > /tmp/d/DEBIAN/control
        printf '#!/bin/sh\\necho configured $1\\n' > /tmp/d/DEBIAN/postinst; printf '#!/bin/sh\\necho greetings\\n' > /tmp/d/usr/bin/greet
        chmod 755 /tmp/d/DEBIAN/postinst /tmp/d/usr/bin/greet; cd /tmp; dpkg-deb --root-owner-group -b d greet.deb > /dev/null
        dpkg -i greet.deb > /dev/null; greet; dpkg -s greet | grep Status; dpkg -r greet > /dev/null; hash -r; command -v greet
        apt-get install -qq -y ./greet.deb < /dev/null > log 2>&1; grep configured log; greet; apt-cache policy greet | sed -n 2p
        apt-get remove -qq -y greet > /dev/null 2>&1; dpkg --audit; hash -r; command -v greet || echo gone";
        let expected =
            "greetings\nStatus: install ok installed\nconfigured configure\ngreetings\nInstalled: 1.0\ngone";
        prints(&Image::get("programs"), script, expected);
    }

    #[test]
    #[ignore = "tests/run whole"]
    fn gcc_and_make_build_a_program() {
        let build = "rm -rf /tmp/p; mkdir /tmp/p; cd /tmp/p
        printf '#include <stdio.h>\\n#include <math.h>\\nint square(int);\\nint main(int n, char **v) { printf(\"hello %%d %%.3f %%s\\\\n\", square(7), sqrt(n), v[n-1]); return 4; }\\n' > main.c
        echo 'int square(int x) { return x * x; }' > square.c; printf 'prog: main.o square.o\\n\\t$(CC) -o $@ $^ -lm\\n' > Makefile
        make CFLAGS='-O2 -Wall -g'; ./prog arg; echo $?; make; readelf -h prog | grep Machine; ar rcs l.a square.o; nm l.a
        gcc -static -flto -O2 main.c square.c -o s -lm; ./s; strip prog; ./prog; echo 'int main(){return x;}' | gcc -xc -; echo $?";
        same("gcc", &[build]);
    }

    #[test]
    #[ignore = "tests/run whole"]
    fn postgres_answers_a_query() {
        let script = "cd /tmp; mkdir d; chown postgres d; su postgres -s /bin/bash -c \"
        PATH=\\$PATH:/usr/lib/postgresql/17/bin; initdb -D d -A trust --no-sync > initdb.log 2>&1; echo \\$?
        pg_ctl -D d -l pg.log -o '-k /tmp -c listen_addresses=127.0.0.1' -w start | tail -1
        psql -h 127.0.0.1 -Atqc 'create table t as select g as id, md5(g::text) as h from generate_series(1,1000) g' \\
          -c 'create index on t(h)' -c 'select count(*), min(h) from t' postgres
        for i in 1 2 3; do psql -h /tmp -Atqc 'begin; update t set id = id + 1 where id >= 1000; select pg_sleep(0.1); commit' postgres > /dev/null & done; wait
        psql -h /tmp -Atc 'select max(id) from t' postgres; pg_ctl -D d -m fast stop | tail -1\"";
        let expected = "0\nserver started\n1000|00411460f7c92d2124a67ea0f4cb5f85\n1003\nserver stopped";
        prints(&slow("postgres"), script, expected);
    }

    #[test]
    #[ignore = "tests/run whole"]
    fn node_runs_programs() {
        let script = r#"cat > /tmp/p.js <<'END'
const { Worker, isMainThread, parentPort } = require('worker_threads'), cp = require('child_process'), http = require('http');
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto'), os = require('os'), dns = require('dns');
if (!isMainThread) parentPort.on('message', m => { parentPort.postMessage(m * 2); parentPort.close(); });
else if (process.send) { process.send('from the child'); process.disconnect(); }
else (async () => {
  const w = new Worker(__filename); w.postMessage(21);
  console.log('worker', await new Promise(r => w.on('message', r)));
  console.log('exec', cp.execSync('echo sub').toString().trim(), cp.spawnSync('sh', ['-c', 'exit 5']).status);
  const s = http.createServer((q, r) => { let n = 0; q.on('data', d => n += d.length).on('end', () => r.end(q.method + q.url + n)); });
  await new Promise(r => s.listen(0, '127.0.0.1', r));
  const body = 'y'.repeat(100000);
  console.log(await (await fetch('http://127.0.0.1:' + s.address().port + '/x', { method: 'POST', body })).text());
  s.close(); s.closeAllConnections();
  fs.writeFileSync('/tmp/f', 'data'); console.log((await fs.promises.readFile('/tmp/f')).toString());
  console.log(zlib.gunzipSync(zlib.gzipSync('z')).toString(), crypto.scryptSync('a', 'b', 8, { N: 16 }).toString('hex'));
  console.log(os.arch(), os.hostname(), Object.keys(os.networkInterfaces()).join());
  console.log(await new Promise(r => dns.lookup('localhost', { family: 4 }, (e, a) => r(a))));
  console.log(await new Promise(r => cp.fork(__filename).on('message', r)));
  process.on('SIGUSR2', () => { console.log('signal'); process.exit(7); });
  process.kill(process.pid, 'SIGUSR2');
})();
END
node --version; node -p '1+1'; node --jitless -p '[1,2,3].map(x => x ** 2).join()' 2> /dev/null; node /tmp/p.js; echo $?; claude --version"#;
        let expected = "v20.19.2\n2\n1,4,9\nworker 42\nexec sub 5\nPOST/x100000\ndata\nz 7afa4775aa564b10\nriscv64 friscy lo
        127.0.0.1\nfrom the child\nsignal\n7\n2.1.39 (Claude Code)";
        prints(&slow("node"), script, expected);
    }

    #[test]
    #[ignore = "tests/run whole"]
    fn java_compiles_and_runs_a_class() {
        let script = r#"cat > /tmp/T.java <<'END'
import java.io.*; import java.net.*; import java.nio.file.*; import java.util.*; import java.util.concurrent.*;
public class T {
  static int deep(int n) { return deep(n + 1) + 1; }
  public static void main(String[] a) throws Exception {
    var pool = Executors.newFixedThreadPool(4); var sums = new ArrayList<Future<Integer>>();
    for (int i = 0; i < 4; i++) { final int n = i; sums.add(pool.submit(() -> { int s = 0; for (int k = 0; k < 50000; k++) s += k % (n + 1); return s; })); }
    for (var s : sums) System.out.print(s.get() + " "); pool.shutdown();
    Files.writeString(Path.of("/tmp/x"), "file"); System.out.println(Files.readString(Path.of("/tmp/x")));
    try { Object o = null; o.toString(); } catch (NullPointerException e) { System.out.print("null "); }
    try { deep(0); } catch (StackOverflowError e) { System.out.println("deep"); }
    var server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
    new Thread(() -> { try (var c = server.accept()) { c.getOutputStream().write("over tcp\n".getBytes()); } catch (IOException e) { throw new UncheckedIOException(e); } }).start();
    try (var c = new Socket(server.getInetAddress(), server.getLocalPort())) { System.out.println(new BufferedReader(new InputStreamReader(c.getInputStream())).readLine()); }
    System.out.println(new ProcessBuilder("sh", "-c", "echo child; exit 4").inheritIO().start().waitFor());
    Thread.ofVirtual().start(() -> System.out.println("virtual")).join();
    System.exit(3);
  }
}
END
java -version 2>&1 | cut -d'"' -f1 | head -1; cd /tmp; javac T.java; java -Xint T; echo $?; java T; echo $?"#;
        let once = "0 25000 49999 75000 file\nnull deep\nover tcp\nchild\n4\nvirtual\n3\n";
        prints(&slow("java"), script, &format!("openjdk version\n{once}{once}"));
    }
}

/// An image whose programs take their time.
fn slow(name: &'static str) -> Image {
    let mut image = Image::get(name);
    image.limit = Duration::from_secs(900);
    image
}
