//! The tree that an archive would unpack to, as names only: enough to follow every link in it without a file system.

use super::archive::ArchiveRefusal;
use std::collections::BTreeMap;

/// Parts of a path; the host that unpacks allows no more.
const DEPTH_MAX: usize = 64;
/// Links that Linux follows in one path before it gives up.
const LINKS_FOLLOWED_MAX: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(String),
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By normal path: parts joined with `/`, no `.`, nothing in front.
    entries: BTreeMap<String, Kind>,
}

impl Tree {
    /// Adds one entry as the archive names it.
    pub(super) fn add(&mut self, path: &str, kind: Kind) -> Result<(), ArchiveRefusal> {
        let normal = normal(path).ok_or_else(|| ArchiveRefusal::PathOutside(path.to_owned()))?;
        if normal.is_empty() {
            return match kind {
                Kind::Directory => Ok(()),
                _ => Err(ArchiveRefusal::Name { path: path.to_owned(), why: "it names the tree itself" }),
            };
        }
        if normal.split('/').count() > DEPTH_MAX {
            return Err(ArchiveRefusal::Name { path: path.to_owned(), why: "it is too deep" });
        }
        self.check_parents(&normal)?;
        // Archivers may name a directory more than once; anything else would replace something.
        let twice = self.entries.get(&normal).is_some_and(|old| *old != Kind::Directory || kind != Kind::Directory);
        if twice {
            return Err(ArchiveRefusal::Duplicate(normal));
        }
        self.entries.insert(normal, kind);
        Ok(())
    }

    /// Each parent is a directory. A link as parent would send the file elsewhere, whatever the order of entries.
    fn check_parents(&mut self, normal: &str) -> Result<(), ArchiveRefusal> {
        for (end, _) in normal.match_indices('/') {
            let parent = &normal[..end];
            match self.entries.get(parent) {
                Some(Kind::Directory) => {}
                None => {
                    self.entries.insert(parent.to_owned(), Kind::Directory);
                }
                Some(Kind::Symlink(_)) => {
                    return Err(ArchiveRefusal::PathThroughLink { path: normal.to_owned(), link: parent.to_owned() });
                }
                Some(_) => return Err(ArchiveRefusal::Duplicate(parent.to_owned())),
            }
        }
        Ok(())
    }

    /// Follows every symbolic link to its end, through other links too.
    pub(super) fn check_links(&self) -> Result<(), ArchiveRefusal> {
        for (path, kind) in &self.entries {
            if let Kind::Symlink(target) = kind {
                self.follow(path, target)?;
            }
        }
        Ok(())
    }

    fn follow(&self, link: &str, target: &str) -> Result<(), ArchiveRefusal> {
        let outside = || ArchiveRefusal::LinkOutside { path: link.to_owned(), target: target.to_owned() };
        let mut at: Vec<&str> = link.split('/').collect();
        at.pop();
        if target.starts_with('/') {
            return Err(outside());
        }
        let mut ahead: Vec<&str> = target.split('/').rev().collect();
        let mut followed = 0;
        while let Some(part) = ahead.pop() {
            match part {
                "" | "." => {}
                ".." => {
                    at.pop().ok_or_else(outside)?;
                }
                part => {
                    at.push(part);
                    let Some(Kind::Symlink(next)) = self.entries.get(&at.join("/")) else { continue };
                    followed += 1;
                    if next.starts_with('/') {
                        return Err(outside());
                    }
                    if followed > LINKS_FOLLOWED_MAX {
                        return Err(ArchiveRefusal::LinkLoop(link.to_owned()));
                    }
                    at.pop();
                    ahead.extend(next.split('/').rev());
                }
            }
        }
        Ok(())
    }
}

/// The path without `.` parts. None: it is absolute or has a `..`.
fn normal(path: &str) -> Option<String> {
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Some(parts.join("/"))
}
