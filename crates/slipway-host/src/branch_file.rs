//! File names for branches: their names come from a remote and may be anything that git takes.

/// A file name is at most 255 bytes; with room for suffixes.
const NAME_BYTES_MAX: usize = 160;
const DIGEST_CHARS: usize = 32;

/// Letters, digits, `-`, `_` and dots inside stay; each other byte is written as `%` and two digits. A long name is a digest behind
/// `~`, which no escaped name holds. Two branches never share a name.
pub(crate) fn file_name(branch: &str) -> String {
    let mut name = String::with_capacity(branch.len());
    for (index, byte) in branch.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && index > 0);
        match plain {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let digest = blake3::hash(branch.as_bytes()).to_hex();
        return format!("~{}", &digest[..DIGEST_CHARS]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_their_own() {
        assert_eq!(file_name("main"), "main");
        assert_eq!(file_name("release-1.2_x"), "release-1.2_x");
        assert_eq!(file_name("feature/a b"), "feature%2Fa%20b");
        assert_eq!(file_name("uploads:"), "uploads%3A");
        let odd = ["", ".", "..", "../x", "a/../../x", ".hidden", "%2F", "~x", "ä", "a\0b", "a\nb", &"x/".repeat(200)];
        let mut names: Vec<String> = odd.iter().map(|branch| file_name(branch)).collect();
        for name in &names {
            assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('.'), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%~".contains(&b)), "{name}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), odd.len());
    }
}
