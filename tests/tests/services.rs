//! Real programs frozen when they are ready, and answering at once when they are opened.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use friscy_tests::oracle::{LIMIT, Outcome, finish, friscy_snap, tar, work};
use friscy_tests::terminal::Terminal;

/// Pack `argv` of an image at `point`, as `name`; what the packer said.
fn pack(image: &str, name: &str, options: &[&str], point: &str, argv: &[&str]) -> (PathBuf, String) {
    let apps = work().join("apps");
    std::fs::create_dir_all(&apps).expect("apps folder");
    let app = apps.join(format!("{name}.wasm"));
    let mut command = Command::new(friscy_snap());
    command.arg(tar(image)).arg("-o").arg(&app).args(options).args(["--until", point, "--"]).args(argv);
    let output = command.output().expect("friscy-snap runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (app, said)
}

fn run(app: &PathBuf) -> Command {
    let mut command = Command::new(friscy_snap());
    command.arg("run").arg(app);
    command
}

/// Open it without a terminal: output and exit code.
fn open(app: &PathBuf, stdin: &str) -> (String, Option<i32>) {
    let Outcome { stdout, stderr, code } = finish(run(app), stdin.as_bytes(), LIMIT);
    (String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr), code)
}

/// On Debian: `tests/run quick` leaves them out.
mod debian {
    use super::*;

    #[test]
    fn a_frozen_shell_is_at_its_prompt() {
        let (app, _) = pack("debian-min", "shell-idle", &[], "idle", &["/bin/bash", "--norc"]);
        let mut shell = Terminal::start(run(&app), 30, 100);
        shell.wait_for("#");
        shell.type_keys("stty size; echo $COLUMNS\r");
        shell.wait_for("\n30 100\n100");
        shell.type_keys("sleep 100\r");
        shell.settle(Duration::from_millis(300));
        shell.type_keys("\x03echo stat''us $?\r");
        shell.wait_for("status 130");
        shell.type_keys("exit 3\r");
        assert_eq!(shell.finish(), Some(3));
    }

    #[test]
    fn a_frozen_shell_reads_a_pipe_to_its_end() {
        let (app, _) = pack("debian-min", "shell-pipe", &[], "idle", &["/bin/bash", "--norc"]);
        let (output, code) = open(&app, "echo o''ne\necho t''wo\n");
        assert!(
            output.contains("\rone\r\n") && output.contains("\rtwo\r\n") && code == Some(0),
            "{output} {code:?}"
        );
        // What is begun is read, then comes the end; who does not care loses the terminal.
        let script = "trap 'exit 5' HUP; cat; cat; echo again; while :; do read -r word; done";
        let (app, _) = pack("debian-min", "pipe-idle", &[], "idle", &["/bin/bash", "-c", script]);
        let (output, code) = open(&app, "unfinished");
        assert!(output.contains("unfinishedunfinished") && code == Some(5), "{output} {code:?}");
    }

    #[test]
    fn an_opened_program_learns_the_terminal_s_size() {
        let script = "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 1000 & wait $!; done";
        let (app, _) = pack("debian-min", "winch", &[], "idle", &["/bin/bash", "-c", script]);
        let mut opened = Terminal::start(run(&app), 31, 101);
        opened.wait_for("0 0\n31 101");
        assert_eq!(opened.finish(), Some(4));
    }

    #[test]
    fn a_program_frozen_at_main_is_linked() {
        let argv = ["/bin/bash", "-c", "echo $0; exit 4", "linked"];
        let (app, said) = pack("debian-min", "main", &["-t=false"], "main", &argv);
        let before = said.split("frozen at main after ").nth(1).and_then(|rest| rest.split(' ').next());
        let before: u64 = before.and_then(|count| count.parse().ok()).expect(&said);
        assert!(before > 100_000, "{said}");
        assert_eq!(open(&app, ""), ("linked\n".to_string(), Some(4)));
    }

    #[test]
    fn a_program_frozen_at_main_has_its_terminal() {
        let argv = ["/bin/bash", "-c", "stty size; exit 4"];
        let (app, _) = pack("debian-min", "main-terminal", &[], "main", &argv);
        let mut opened = Terminal::start(run(&app), 31, 101);
        opened.wait_for("31 101");
        assert_eq!(opened.finish(), Some(4));
    }

    #[test]
    fn a_frozen_python_is_at_its_prompt() {
        let options = ["-e", "PYTHON_BASIC_REPL=1"];
        let (app, _) = pack("debian-python3", "python-idle", &options, "idle", &["/usr/bin/python3", "-q"]);
        let mut python = Terminal::start(run(&app), 24, 80);
        python.wait_for(">>>");
        python.type_keys("import os; 6*7, os.get_terminal_size().columns\r");
        python.wait_for("(42, 80)");
        python.type_keys("exit(5)\r");
        assert_eq!(python.finish(), Some(5));
    }

    /// Fetches a page from the server in the same machine.
    const FETCH: &str = "
import urllib.request
def fetch(): return urllib.request.urlopen('http://127.0.0.1:8000/etc/hostname').status";

    #[test]
    fn a_frozen_server_answers() {
        let script = format!(
            "cd /; python3 -m http.server 8000 2>/dev/null & echo waiting; read word
python3 -c \"{FETCH}\nprint(fetch(), '$word')\"; kill $!; exit 6"
        );
        let argv = ["/bin/sh", "-c", &script];
        let (app, _) = pack("debian-python3", "listen", &["-t=false"], "listen:8000", &argv);
        let outcome = open(&app, "go\n");
        assert_eq!(outcome, ("waiting\n200 go\n".to_string(), Some(6)));
    }

    /// Instructions before the freeze, as the packer says.
    fn retired(said: &str) -> u64 {
        let count = said.split(" after ").nth(1).and_then(|rest| rest.split(' ').next());
        count.and_then(|count| count.parse().ok()).expect(said)
    }

    #[test]
    fn a_server_that_was_asked_before_the_freeze_answers_again() {
        let script = format!(
            "cd /; python3 -m http.server 8000 2>/tmp/log & read word
python3 -c \"{FETCH}\nprint(fetch(), '$word')\"; cut -d'\"' -f2 /tmp/log; kill $!; exit 6"
        );
        let argv = ["/bin/sh", "-c", &script];
        let (_, cold) = pack("debian-python3", "not-warm", &["-t=false"], "listen:8000", &argv);
        let options = ["-t=false", "--warm", "GET /etc", "--warm", r"GET /proc/version HTTP/1.0\r\n\r\n"];
        let (app, warm) = pack("debian-python3", "warm", &options, "listen:8000", &argv);
        assert!(retired(&warm) > retired(&cold) + 1_000_000, "{cold}\n{warm}");
        let asked = "GET /etc HTTP/1.1\nGET /proc/version HTTP/1.0\nGET /etc/hostname HTTP/1.1\n";
        assert_eq!(open(&app, "go\n"), (format!("200 go\n{asked}"), Some(6)));
    }

    #[test]
    fn a_server_that_does_not_answer_is_not_frozen() {
        let script = "import socket, sys
s = socket.create_server(('127.0.0.1', 8000))
while True:
    c = s.accept()[0]; c.recv(9)
    sys.argv[1] == 'close' and c.close()";
        let image = tar("debian-python3");
        let refused = |how: &str, point: &str| {
            let mut command = Command::new(friscy_snap());
            command.arg(&image).args([
                "-o",
                "/dev/null",
                "--layout",
                "single",
                "--warm",
                "hello",
                "--until",
                point,
            ]);
            let output =
                command.args(["--", "python3", "-c", script, how]).output().expect("friscy-snap runs");
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let said = refused("keep", "listen:8000");
        assert!(said.contains("request 1 of --warm: no answer"), "{said}");
        let said = refused("close", "listen:8000");
        assert!(said.contains("request 1 of --warm: the connection was closed"), "{said}");
        let said = refused("keep", "idle");
        assert!(said.contains("--until listen:PORT") && said.lines().count() == 1, "{said}");
    }

    /// A server frozen when it listens, and a client beside it that waits for a word.
    #[track_caller]
    fn answers(image: &str, name: &str, port: u16, server: &str, client: &str, expected: &str) {
        let script = format!(
            "cd /tmp; echo contents > page; ({server}) > /tmp/log 2>&1 & read word; {client}; kill $!"
        );
        let argv = ["/bin/bash", "-c", &script];
        let (app, _) = pack(image, name, &["-t=false"], &format!("listen:{port}"), &argv);
        let (output, code) = open(&app, "go\n");
        assert_eq!((output.replace('\r', ""), code), (expected.to_string(), Some(0)), "{server}");
    }

    /// bash speaks HTTP by itself: the status, and what comes after the head.
    const GET: &str = "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET /tmp/page HTTP/1.0\\r\\n\\r\\n' >&3
        read -r status <&3; echo ${status:9:3}; while read -r line <&3 && [ ${#line} -gt 1 ]; do :; done; cat <&3";

    #[test]
    fn frozen_databases_and_web_servers_answer() {
        let redis = "exec redis-server --port 6379 --save ''";
        answers("programs", "redis", 6379, redis, "redis-cli incr n; redis-cli incr n", "1\n2\n");
        let conf = "daemon off; master_process off; pid /tmp/pid; error_log stderr; events {}
            http { access_log off; server { listen 8000; root /; } }";
        let nginx = format!("echo '{conf}' > conf; exec nginx -c /tmp/conf");
        answers("programs", "nginx", 8000, &nginx, GET, "200\ncontents\n");
    }

    #[test]
    #[ignore = "its image takes minutes: tests/run whole"]
    fn a_frozen_node_server_answers() {
        let server = "exec node -e 'require(\"http\").createServer((request, reply) => reply.end(request.url)).listen(8000)'";
        answers("node", "node-listen", 8000, server, GET, "200\n/tmp/page");
    }

    #[test]
    #[ignore = "its image takes minutes: tests/run whole"]
    fn a_frozen_jvm_answers() {
        let server = "exec java -m jdk.httpserver -b 127.0.0.1 -p 8000 -d /";
        answers("java", "java-listen", 8000, server, GET, "200\ncontents\n");
    }

    /// docs/RESUME.md says what Python draws anew and what not; here it is drawn before and after the freeze.
    #[test]
    fn a_service_freezes_itself_and_draws_new_numbers_in_each_opening() {
        let script = format!(
            "{FETCH}
import os, random, secrets, socket, ssl, subprocess, sys, time, uuid
server = subprocess.Popen([sys.executable, '-m', 'http.server', '8000', '-d', '/'], stderr=subprocess.DEVNULL)
def up():
    try: socket.create_connection(('127.0.0.1', 8000)).close()
    except ConnectionRefusedError: return False
    return True
while not up(): time.sleep(0.1)
draw = lambda: [ssl.RAND_bytes(8).hex(), os.urandom(8).hex(), secrets.token_hex(8), str(uuid.uuid4())]
draw(); random.random()
print('ready', flush=True)
os.write(os.open('/proc/friscy/freeze', os.O_WRONLY), b'1')
print(fetch())
print(*draw())
print(random.random(), hash('text'))
server.terminate()
sys.exit(server.wait() + 20)"
        );
        let argv = ["/usr/bin/python3", "-c", &script];
        let (app, _) = pack("debian-python3", "service", &["-t=false"], "guest", &argv);
        let [first, second] = [open(&app, ""), open(&app, "")].map(|(output, code)| {
            assert_eq!(code, Some(20 - 15), "{output}");
            output.lines().map(str::to_string).collect::<Vec<_>>()
        });
        assert_eq!(first[..2], ["ready", "200"]);
        assert_eq!(first[..2], second[..2]);
        for (a, b) in first[2].split(' ').zip(second[2].split(' ')) {
            assert!(a != b, "{a} in both openings");
        }
        assert_eq!(first[2].split(' ').count(), 4);
        assert_eq!(first[3], second[3], "docs/RESUME.md says that these are not drawn anew");
    }

    #[test]
    fn deadlines_on_the_wall_clock_are_named() {
        let script = "import os, time; fd = os.timerfd_create(time.CLOCK_REALTIME)
os.timerfd_settime(fd, flags=os.TFD_TIMER_ABSTIME, initial=time.time() + 3600); os.read(0, 1)";
        let argv = ["/usr/bin/python3", "-c", script];
        let (_, said) = pack("debian-python3", "deadline", &["-t=false"], "idle", &argv);
        assert!(said.contains("warning: python3[1]: has a timer descriptor set to a date"), "{said}");
    }
}
