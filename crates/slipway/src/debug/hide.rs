//! Keeps credentials out of a bundle.

use crate::client::ClientFile;
use crate::server::Places;
use std::fs;
use std::path::Path;

const HIDDEN: &str = "***";
/// A shorter one would hide half of every sentence; no credential that Slipway makes is so short.
const SECRET_BYTES_MIN: usize = 8;
/// Files of credentials are small.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Files of the data directory that are or hold credentials.
const FILES: [&str; 3] = ["admin-token", "keys/master.key", "server-id"];
/// What names of variables with credentials have in them.
const TELLING: [&str; 7] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "ACCESS_KEY", "API_KEY"];

/// Texts that must not be seen.
#[derive(Debug, Default)]
pub(super) struct Hider {
    secrets: Vec<String>,
}

impl Hider {
    /// Of the server's files and of this process's environment.
    pub(super) fn of(places: Option<&Places>) -> Self {
        let mut hider = Self::default();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().to_ascii_uppercase();
            if TELLING.iter().any(|telling| name.contains(telling)) {
                hider.add(&value.to_string_lossy());
            }
        }
        if let Some(places) = places {
            FILES.iter().for_each(|file| hider.add_file(&places.data_dir.join(file)));
            if let Ok(text) = fs::read_to_string(ClientFile::path(&places.data_dir)) {
                let file = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
                hider.add(file["token"].as_str().unwrap_or_default());
            }
            let config = places.config_file.as_ref().and_then(|file| fs::read_to_string(file).ok());
            let cold = config.and_then(|text| cold_credentials(&text));
            cold.iter().for_each(|file| hider.add_file(Path::new(file)));
        }
        // A secret may be a part of another.
        hider.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        hider
    }

    /// Each line, each word, and what stands behind a `=`; bytes that are no text, as hexadecimal digits.
    fn add_file(&mut self, path: &Path) {
        let is_small = fs::metadata(path).is_ok_and(|found| found.len() <= FILE_BYTES_MAX);
        let Some(bytes) = is_small.then(|| fs::read(path).ok()).flatten() else { return };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return self.add(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        };
        for line in text.lines() {
            self.add(line);
            line.split(|c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\'')).for_each(|word| self.add(word));
        }
    }

    fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= SECRET_BYTES_MIN && !self.secrets.iter().any(|known| known == secret) {
            self.secrets.push(secret.to_owned());
        }
    }

    pub(super) fn hide(&self, text: &str) -> String {
        let hidden = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
        hidden.lines().map(|line| format!("{}\n", without_user(line))).collect()
    }
}

fn cold_credentials(config: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(config).ok()?;
    Some(table.get("layers")?.get("cold")?.get("credentials")?.as_str()?.to_owned())
}

/// The configuration without its comments, in which people keep notes to themselves.
pub(super) fn config(text: &str) -> Result<String, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    toml::to_string_pretty(&table).map_err(|error| error.to_string())
}

/// Takes name and password out of addresses: `https://***@host/`.
fn without_user(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#')).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                out.push_str(HIDDEN);
                &after[at..]
            }
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_users() {
        for (line, expected) in [
            ("GET https://me:pass@git.example/x", "GET https://***@git.example/x"),
            ("a http://b/c@d and ssh://u@h", "a http://b/c@d and ssh://***@h"),
            ("postgres://app:p@ss@db:5432/app", "postgres://***@db:5432/app"),
            ("no address: a@b", "no address: a@b"),
        ] {
            assert_eq!(without_user(line), expected);
        }
    }

    #[test]
    fn comments_are_left_out_and_a_broken_file_is_said() {
        let shown = config("# password: hunter22\n[edge]\ndomain = \"a.example\" # hunter22\n").unwrap();
        assert!(shown.contains("a.example") && !shown.contains("hunter22"), "{shown}");
        assert!(config("= hunter22").is_err_and(|why| !why.contains("hunter22")));
    }

    #[test]
    fn what_lies_in_the_data_directory_is_hidden_wherever_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("keys")).unwrap();
        fs::write(data.join("admin-token"), "tok-abcdefgh\n").unwrap();
        fs::write(data.join("keys/master.key"), [0xff, 0xfe, 1, 2, 3]).unwrap();
        fs::write(ClientFile::path(&data), r#"{"url":"http://127.0.0.1:1","token":"tok-of-clients"}"#).unwrap();
        let credentials = dir.path().join("s3");
        fs::write(
            &credentials,
            "[default]\naws_access_key_id = AKIAEXAMPLE1\naws_secret_access_key=s3cr3t/with+signs\n",
        )
        .unwrap();
        let file = dir.path().join("server.toml");
        fs::write(&file, format!("[layers.cold]\nbucket = \"b\"\ncredentials = \"{}\"\n", credentials.display()))
            .unwrap();
        let places =
            Places { layers_dir: data.join("layers"), data_dir: data, keep_releases: 1, config_file: Some(file) };
        let hider = Hider::of(Some(&places));
        let text = "tok-abcdefgh, tok-of-clients, fffe010203, AKIAEXAMPLE1 and \"s3cr3t/with+signs\"; a plain word";
        assert_eq!(hider.hide(text), "***, ***, ***, *** and \"***\"; a plain word\n");
    }
}
