//! Writes the archive that a Linux kernel unpacks as its first file system: cpio in the "new ASCII" form. Everything belongs to
//! root and has no time, so that the same content is the same archive.

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// The name of the last entry.
const TRAILER: &str = "TRAILER!!!";
/// Names and contents begin at multiples of this.
const ALIGNMENT: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn directory(&mut self, name: &str, mode: u32) {
        self.entry(name, DIRECTORY | mode, (0, 0), &[]);
    }

    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, REGULAR | mode, (0, 0), content);
    }

    pub(super) fn character_device(&mut self, name: &str, mode: u32, major: u32, minor: u32) {
        self.entry(name, CHARACTER_DEVICE | mode, (major, minor), &[]);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // Number, mode, owner, group, links, time, size, device it stands on (two), device it is (two), name's size, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0]
            .map(|n| format!("{n:08X}"));
        self.bytes.extend_from_slice(b"070701");
        self.bytes.extend_from_slice(fields.concat().as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn another_program_reads_it() {
        let mut archive = Archive::default();
        archive.directory("modules", 0o755);
        archive.file("modules/odd", 0o640, b"12345");
        archive.file("init", 0o755, &vec![7; 70_000]);
        archive.character_device("console", 0o600, 5, 1);
        let bytes = archive.finish();
        // Python is there in every test; cpio is not.
        let script = "
import sys
data, at = sys.stdin.buffer.read(), 0
while True:
    assert data[at:at + 6] == b'070701'
    field = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
    name = data[at + 110:at + 110 + field[11] - 1].decode()
    body = (at + 110 + field[11] + 3) // 4 * 4
    if name == 'TRAILER!!!': break
    print(name, oct(field[1]), field[6], field[9], field[10], data[body:body + 5].hex())
    at = (body + field[6] + 3) // 4 * 4
";
        let mut python =
            Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = python.wait_with_output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let expect = "modules 0o40755 0 0 0 3037303730\nmodules/odd 0o100640 5 0 0 3132333435\n\
                      init 0o100755 70000 0 0 0707070707\nconsole 0o20600 0 5 1 3037303730\n";
        assert_eq!(lines, expect);
    }
}
