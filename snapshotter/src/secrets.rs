//! What looks like a key: in the environment, and in the memory that is frozen
//! into the file. Found by name or by form, reported without its value.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// Form of a key, and what it is called. The groups of the pattern carry the number in this list. In memory strings
/// may touch each other, so no form asks for a boundary before it.
const KINDS: &[(&str, &str)] = &[
    ("an AWS access key", r"(?:AKIA|ASIA)[0-9A-Z]{16}"),
    ("a GitHub token", r"gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{60,}"),
    ("a GitLab token", r"glpat-[0-9A-Za-z_-]{20,}"),
    ("a Slack token", r"xox[abposr]-[0-9A-Za-z-]{20,}"),
    ("a Google API key", r"AIza[0-9A-Za-z_-]{35}"),
    ("a Stripe key", r"[sr]k_live_[0-9A-Za-z]{20,}"),
    ("an API key", r"sk-(?:ant|proj)-[0-9A-Za-z_-]{20,}"),
    ("an npm token", r"npm_[0-9A-Za-z]{36}"),
    (
        "a private key",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[\r\n]+[0-9A-Za-z+/=]{40}[0-9A-Za-z+/=\r\n-]*",
    ),
];

/// `NAME=value` where the name says that the value is secret. Programs hold such names without a value as well.
const VARIABLE: &str = r"(?<name>(?:[A-Z0-9_]*_)?(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_KEY|ACCESS_KEY|SECRET_KEY|CREDENTIALS?))=(?<value>[!-~]{6,})";

static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    let kinds = KINDS.iter().enumerate().map(|(number, (_, form))| format!("(?<k{number}>{form})"));
    let all: Vec<String> = kinds.chain([VARIABLE.to_string()]).collect();
    RegexBuilder::new(&all.join("|")).unicode(false).build().expect("the patterns are constants")
});

/// What a match is called: a kind of key, or the variable's name.
fn called(found: &Captures<'_>) -> String {
    if let Some(name) = found.name("name") {
        return String::from_utf8_lossy(name.as_bytes()).into_owned();
    }
    let kind = (0..KINDS.len()).find(|number| found.name(&format!("k{number}")).is_some());
    kind.map_or("a key", |number| KINDS[number].0).to_string()
}

/// Variables of an environment that hold what looks like a key, by name.
pub fn in_environment(env: &[Vec<u8>]) -> Vec<String> {
    let name = |variable: &[u8]| {
        let name = variable.split(|&byte| byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    };
    env.iter().filter(|variable| PATTERN.is_match(variable)).map(|variable| name(variable)).collect()
}

/// What looks like a key in `memory`, and how often: kinds of keys, and names of variables.
pub fn in_memory(memory: &[u8]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for captures in PATTERN.captures_iter(memory) {
        *found.entry(called(&captures)).or_default() += 1;
    }
    found
}

/// One line for what a file made of this environment and memory gives away; none when there is nothing.
pub fn warning(env: &[Vec<u8>], memory: &[u8]) -> Option<String> {
    let variables = in_environment(env);
    let mut places: Vec<String> = variables.iter().map(|name| format!("{name} in the environment")).collect();
    // The environment is in memory as well; that it is there needs no second mention.
    let kinds = in_memory(memory).into_keys().filter(|name| !variables.contains(name));
    let hidden = |kind: &String| {
        let of_kind = |variable: &Vec<u8>| in_memory(variable).contains_key(kind);
        env.iter().any(of_kind)
    };
    places.extend(kinds.filter(|kind| !hidden(kind)).map(|kind| format!("{kind} in memory")));
    (!places.is_empty()).then(|| {
        format!(
            "whoever has the file can read what looks like secrets: {}; give them when it is opened \
             (see friscy-snap inspect --strings)",
            places.join(", ")
        )
    })
}

/// Hides values.
#[derive(Debug)]
pub struct Mask {
    /// Values of the environment that look like keys, and what stands for each.
    values: Vec<(Regex, Vec<u8>)>,
}

impl Mask {
    /// One that knows the secret values of `env`, wherever they stand.
    pub fn new(env: &[Vec<u8>]) -> Result<Mask, regex::Error> {
        let secret = env.iter().filter(|variable| PATTERN.is_match(variable));
        let pairs = secret.filter_map(|variable| {
            let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
            Some((regex::escape(value), format!("<{name}, hidden>").into_bytes()))
        });
        let values =
            pairs.map(|(value, shown)| Ok((Regex::new(&value)?, shown))).collect::<Result<_, _>>()?;
        Ok(Mask { values })
    }

    /// `text` with each value that is, or looks like, a key replaced by what it is.
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        let mask = |found: &Captures<'_>| match found.name("name") {
            Some(name) => [name.as_bytes(), b"=<hidden>"].concat(),
            None => format!("<{}, hidden>", called(found)).into_bytes(),
        };
        let hidden = PATTERN.replace_all(text, mask).into_owned();
        self.values.iter().fold(hidden, |text, (value, shown)| {
            value.replace_all(&text, regex::bytes::NoExpand(shown)).into_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[&str]) -> Vec<Vec<u8>> {
        variables.iter().map(|variable| variable.as_bytes().to_vec()).collect()
    }

    /// Put together here, so that no scanner takes this file for a leak.
    fn github() -> String {
        format!("ghp_{}", "a1B2".repeat(9))
    }

    #[test]
    fn names_and_forms_are_known() {
        let aws = format!("KEY_ID=AKIA{}", "ABCD".repeat(4));
        let hub = format!("X={}", github());
        let found = in_environment(&env(&[
            "PATH=/bin:/usr/bin",
            "GITHUB_TOKEN=something",
            "DB_PASSWORD=hunter22",
            "AWS_SECRET_ACCESS_KEY=whatever-it-is",
            "SECRET=",
            "POSTGRES_PASSWORD_FILE=/run/secrets/p",
            "GPG_KEY=E3FF2839C048B25C",
            "MONKEY=banana-banana",
            &aws,
            &hub,
        ]));
        assert_eq!(found, ["GITHUB_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "KEY_ID", "X"]);
    }

    #[test]
    fn a_header_alone_is_no_key() {
        let header = b"-----BEGIN RSA PRIVATE KEY-----\n\0-----BEGIN %s-----\n%s_PASSWORD=%s\0";
        assert!(in_memory(header).is_empty());
        let key = [&header[..32], "MIIEpAIBAAKCAQEA".repeat(4).as_bytes(), b"\n"].concat();
        assert_eq!(in_memory(&key).into_iter().collect::<Vec<_>>(), [("a private key".to_string(), 1)]);
    }

    #[test]
    fn values_are_never_shown() {
        let (variables, token) = (env(&["API_TOKEN=very-secret-value"]), github());
        let memory = format!("\0API_TOKEN=very-secret-value\0log: {token}\0");
        let line = warning(&variables, memory.as_bytes()).expect("there is something");
        assert!(line.contains("API_TOKEN in the environment, a GitHub token in memory"), "{line}");
        let memory = format!("{memory}very-secret-value\0");
        let mask = Mask::new(&variables).expect("a pattern");
        let shown = String::from_utf8(mask.hide(memory.as_bytes())).expect("text");
        assert_eq!(shown, "\0API_TOKEN=<hidden>\0log: <a GitHub token, hidden>\0<API_TOKEN, hidden>\0");
        assert!(!line.contains("very-secret") && !line.contains(&token));
        assert_eq!(warning(&env(&["A=1"]), b"nothing"), None);
    }
}
