//! `friscy-snap serve`: the page on this machine. A static server and nothing
//! more; any other does as well, no header of ours is needed. Knows Range, and
//! content codings that it makes when they are first asked for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::app::App;
use crate::cli::Serve;
use crate::coding::{self, Coding, Effort};
use crate::page::{self, Asset, INDEX, mime};

/// A connection on which nothing is asked for this long is closed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest request head.
const HEAD_MAX: u64 = 16 << 10;

struct Site {
    files: Vec<Served>,
    verbose: bool,
}

/// A file, and its compressed forms once somebody wanted them, in the order of [`Coding::ALL`].
struct Served {
    asset: Asset<'static>,
    coded: [OnceLock<Option<Vec<u8>>>; 3],
}

impl Served {
    /// The first of these codings that helps.
    fn coded(&self, accepted: &str) -> Option<(Coding, &[u8])> {
        Coding::accepted(accepted).filter(|_| coding::shrinks(&self.asset.name)).find_map(|coding| {
            let place = &self.coded[Coding::ALL.iter().position(|&c| c == coding)?];
            let make = || coding.encode(&self.asset.bytes, Effort::Now).unwrap_or_default();
            Some((coding, place.get_or_init(make).as_deref()?))
        })
    }
}

impl Site {
    fn file(&self, path: &str) -> Option<&Served> {
        let path = if path.is_empty() { INDEX } else { path };
        self.files.iter().find(|file| file.asset.name == path)
    }
}

/// `friscy-snap serve`: until it is interrupted.
pub fn command(args: &Serve) -> Result<()> {
    let site = site(&args.app, args.talk.verbose)?;
    let listener = TcpListener::bind((args.host.as_str(), args.port)).with_context(|| {
        format!("cannot listen at {}:{}; --port 0 takes a free port", args.host, args.port)
    })?;
    println!("http://{}/", listener.local_addr()?);
    if !args.talk.quiet {
        eprintln!("serving {}; stop with Ctrl-C", args.app.display());
    }
    run(&site, &listener)
}

/// The page of the app at `path` at a free port of this machine, for as long as this process lives.
pub(crate) fn background(path: &Path) -> Result<SocketAddr> {
    let site = site(path, false)?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on this machine")?;
    let address = listener.local_addr()?;
    // A server that cannot go on is one that does not answer: its visitors say so.
    std::thread::Builder::new().spawn(move || run(&site, &listener))?;
    Ok(address)
}

fn site(path: &Path, verbose: bool) -> Result<Arc<Site>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Served until the process ends.
    let app: &'static App = Box::leak(Box::new(App::open(path)?));
    let served = |asset| Served { asset, coded: Default::default() };
    let files = page::assets(app, &stem, false)?.into_iter().map(served).collect();
    Ok(Arc::new(Site { files, verbose }))
}

fn run(site: &Arc<Site>, listener: &TcpListener) -> Result<()> {
    // Browsers keep several connections open: each has its thread, so that none waits for another.
    for stream in listener.incoming().flatten() {
        let site = Arc::clone(site);
        std::thread::Builder::new()
            .spawn(move || {
                // Who went away does not want an answer.
                let _ = connection(&site, &stream);
            })
            .context("cannot start a thread")?;
    }
    Ok(())
}

/// What a request's head says, as far as a static server cares.
struct Request {
    method: String,
    path: String,
    range: Option<String>,
    accept_encoding: String,
    /// No further request comes on this connection.
    last: bool,
}

/// Requests of one connection, one after the other.
fn connection(site: &Site, stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_head(&mut reader)? {
        if site.verbose {
            eprintln!("{} /{}", request.method, request.path);
        }
        answer(site, &request, stream)?;
        if request.last {
            break;
        }
    }
    Ok(())
}

/// The next request's head (RFC 9112); `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.take(HEAD_MAX);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_string);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let path = target.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/').to_string();
    // A request with a body is refused, and its body not read: the connection ends there.
    let last = words.next().as_deref() != Some("HTTP/1.1") || !matches!(method.as_str(), "GET" | "HEAD");
    let mut request = Request { method, path, range: None, accept_encoding: String::new(), last };
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim_end().is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "accept-encoding" => request.accept_encoding = value.trim().to_string(),
            "range" => request.range = Some(value.trim().to_string()),
            "connection" => request.last |= value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

fn answer(site: &Site, request: &Request, mut stream: &TcpStream) -> io::Result<()> {
    let mut extra = String::new();
    let mut as_it_is = true;
    let file = site.file(&request.path);
    let (mut status, kind, mut bytes): (_, _, &[u8]) = match file {
        _ if !matches!(request.method.as_str(), "GET" | "HEAD") => {
            ("405 Method Not Allowed", "text/plain", b"only GET and HEAD\n")
        }
        Some(file) => ("200 OK", mime(&file.asset.name), &file.asset.bytes),
        None => ("404 Not Found", "text/plain", b"not found\n"),
    };
    // A range is one of the file as it is.
    if let ("200 OK", Some(file), None) = (status, file, &request.range) {
        if let Some((coding, coded)) = file.coded(&request.accept_encoding) {
            extra = format!("Content-Encoding: {}\r\n", coding.name());
            bytes = coded;
            as_it_is = false;
        }
        extra.push_str("Vary: Accept-Encoding\r\n");
    }
    let mut span = 0..bytes.len();
    if let ("200 OK", Some(asked)) = (status, &request.range) {
        match range(asked, bytes.len()) {
            Asked::All => {}
            Asked::Part(part) => {
                status = "206 Partial Content";
                extra = format!("Content-Range: bytes {}-{}/{}\r\n", part.start, part.end - 1, bytes.len());
                span = part;
            }
            Asked::Outside => {
                status = "416 Range Not Satisfiable";
                extra = format!("Content-Range: bytes */{}\r\n", bytes.len());
                span = 0..0;
            }
        }
    }
    let forever = file.is_some_and(|file| file.asset.immutable());
    let cache = if forever { "public, max-age=31536000, immutable" } else { "no-cache" };
    if let Some(file) = file.filter(|_| forever && as_it_is) {
        // The name says what the contents are. Without a validator Chromium keeps no answer to a range.
        extra.push_str(&format!("ETag: \"{}\"\r\n", file.asset.name));
    }
    let end = if request.last { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n\
         Cache-Control: {cache}\r\n{extra}{end}\r\n",
        span.len()
    );
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&bytes[span])?;
    }
    stream.flush()
}

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    Part(std::ops::Range<usize>),
    Outside,
}

/// RFC 9110, 14.2. Several ranges at once are answered with everything, as it allows.
fn range(value: &str, len: usize) -> Asked {
    let Some((first, last)) = value.trim().strip_prefix("bytes=").and_then(|spec| spec.split_once('-'))
    else {
        return Asked::All;
    };
    let span = match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(len),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..len,
        (Err(_), Ok(suffix)) if first.trim().is_empty() => len.saturating_sub(suffix)..len,
        _ => return Asked::All,
    };
    if span.start < span.end { Asked::Part(span) } else { Asked::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_one_after_the_other() {
        let mut input =
            b"GET /a.js?x=1 HTTP/1.1\r\nRANGE: bytes=0-1\r\n\r\nPOST / HTTP/1.1\r\n\r\n".as_slice();
        let first = read_head(&mut input).expect("whole").expect("a request");
        assert_eq!(
            (first.path.as_str(), first.range.as_deref(), first.last),
            ("a.js", Some("bytes=0-1"), false)
        );
        let second = read_head(&mut input).expect("whole").expect("a request");
        assert_eq!((second.method.as_str(), second.path.as_str(), second.last), ("POST", "", true));
        assert!(read_head(&mut input).expect("the end").is_none());
        assert!(read_head(&mut b"GET / HTTP/1.1\r\nHost".as_slice()).is_err());
        let long = [b"GET / HTTP/1.1\r\n".as_slice(), &vec![b'x'; 20 << 10]].concat();
        assert!(read_head(&mut long.as_slice()).is_err());
    }

    #[test]
    fn ranges_are_http_s() {
        assert_eq!(range("bytes=0-9", 100), Asked::Part(0..10));
        assert_eq!(range("bytes=90-", 100), Asked::Part(90..100));
        assert_eq!(range("bytes=-10", 100), Asked::Part(90..100));
        assert_eq!(range("bytes=0-999", 100), Asked::Part(0..100));
        assert_eq!(range("bytes=100-", 100), Asked::Outside);
        assert_eq!(range("bytes=0-1,5-6", 100), Asked::All);
        assert_eq!(range("lines=0-1", 100), Asked::All);
    }
}
